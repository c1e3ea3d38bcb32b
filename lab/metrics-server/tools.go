//go:build tools

// Package tools names metrics-server's command, so that go.sum covers what it needs.
package tools

import (
	_ "sigs.k8s.io/metrics-server/cmd/metrics-server"
)
