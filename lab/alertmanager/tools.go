//go:build tools

// Package tools names Alertmanager's command, so that go.sum covers what it needs.
//
// The last version whose module holds its web page built: later ones embed a folder that it lacks.
package tools

import (
	_ "github.com/prometheus/alertmanager/cmd/alertmanager"
)
