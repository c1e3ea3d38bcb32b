//go:build tools

// Package tools names Prometheus' commands, so that go.sum covers what they need.
//
// Debian's Prometheus is built without Kubernetes discovery, which the node mode needs.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
