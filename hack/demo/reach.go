// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// target is the machine under attack. All machines connect to the target, even the target.
const target = "cp-1"

var allMachines = []string{target, "cp-2", "cp-3", "worker-1", calico.Outsider}

// flow is a source and a port of the target.
type flow struct {
	from string
	port uint16
	ipv6 bool
}

// columnsOf returns the flows from a machine.
func columnsOf(from string) []flow {
	return []flow{{from, etcdPort, false}, {from, etcdPort, true}, {from, kubeletPort, false}, {from, kubeletPort, true}}
}

// fromControlPlane tells whether the policy allows a flow.
func fromControlPlane(f flow) bool { return strings.HasPrefix(f.from, "cp-") }

// checkFlows checks the verdict on every flow, and prints the verdicts.
func (s *stage) checkFlows(ctx context.Context, what string, open func(flow) bool) error {
	var verdicts map[flow]network.Verdict
	err := pollUntilRight(ctx, patience, func(context.Context) (wrong string, err error) {
		if verdicts, err = s.hosts.dialAll(); err != nil {
			return "", err
		}
		for f, verdict := range verdicts {
			if verdict != network.Open && verdict != network.Dropped || (verdict == network.Open) != open(f) {
				return fmt.Sprintf("%+v is %s", f, verdict), nil
			}
		}
		return "", nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := s.showReach(verdicts); err != nil {
		return err
	}
	s.printLine("  ✓ %s", what)
	return nil
}

// dialAll tries all flows at the same time.
func (h *hosts) dialAll() (map[flow]network.Verdict, error) {
	var mu sync.Mutex
	var dialling sync.WaitGroup
	var failures []error
	verdicts := map[flow]network.Verdict{}
	to := h.cluster.Machine(target).Cluster
	for _, from := range allMachines {
		for _, f := range columnsOf(from) {
			address := netip.AddrPortFrom(to.IPv4, f.port)
			if f.ipv6 {
				address = netip.AddrPortFrom(to.IPv6, f.port)
			}
			dialling.Go(func() {
				verdict, err := h.cluster.Machine(from).Dial(network.TCP, address)
				mu.Lock()
				defer mu.Unlock()
				verdicts[f], failures = verdict, append(failures, err)
			})
		}
	}
	dialling.Wait()
	return verdicts, errors.Join(failures...)
}

func (s *stage) showReach(verdicts map[flow]network.Verdict) error {
	table := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "    TO %s FROM\tETCD IPv4\tETCD IPv6\tKUBELET IPv4\tKUBELET IPv6\n", target)
	for _, from := range allMachines {
		fmt.Fprintf(table, "    %s", from)
		for _, f := range columnsOf(from) {
			fmt.Fprintf(table, "\t%s", verdicts[f])
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}
