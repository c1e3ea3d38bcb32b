//go:build tools

// Package tools names Compose's command, so that go.sum covers what it needs.
//
// Debian 12 has docker-compose 1.29 alone; version 2 is a Go module.
package tools

import _ "github.com/docker/compose/v2/cmd"
