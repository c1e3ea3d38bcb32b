//go:build tools

// Package tools names KWOK's command, so that go.sum covers what it needs.
//
// KWOK has its own module: it depends on newer Kubernetes libraries than the
// cluster binary, and one module cannot hold both.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
