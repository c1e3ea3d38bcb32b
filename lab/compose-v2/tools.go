//go:build tools

// Package tools names Docker Compose's command, so that go.sum covers what it needs.
package tools

import _ "github.com/docker/compose/v2/cmd"
