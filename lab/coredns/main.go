// Command coredns is CoreDNS with the few plugins that a lab cluster's DNS needs.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func init() {
	// The order in which plugins see a query; every plugin linked in must be named.
	dnsserver.Directives = []string{"errors", "ready", "cache", "kubernetes", "template"}
}

func main() {
	coremain.Run()
}
