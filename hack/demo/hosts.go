// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// The ports of cp-1 in the story.
const (
	etcdPort    = 2379  // a failsafe port of Felix
	kubeletPort = 10250 // not a failsafe port
)

// hosts are the demo's nodes as machines, each a network namespace with a Felix that
// enforces Calico's policies.
type hosts struct {
	calico  *calico.Calico
	cluster *calico.Cluster
}

// lookForPackets finds out whether packets can be tried on this machine. If so, and Calico
// is not built yet, the build starts now, together with the story.
func (s *stage) lookForPackets(ctx context.Context) error {
	s.noPackets = calico.Available(ctx)
	if s.noPackets == nil {
		s.calico = startBuild(ctx, func(ctx context.Context, progress io.Writer) error {
			_, err := calico.FindAssets(ctx, progress)
			return err
		})
	}
	return s.mustHavePackets()
}

// waitForCalico waits until Calico is built.
func (s *stage) waitForCalico() error {
	if s.noPackets == nil {
		s.noPackets = s.calico.waitFor(s.out)
	}
	return s.mustHavePackets()
}

// mustHavePackets fails where packets are required and cannot be tried.
func (s *stage) mustHavePackets() error {
	if s.noPackets != nil && network.Required() {
		return fmt.Errorf("%s=required, but packets cannot be tried here: %w", network.Variable, s.noPackets)
	}
	return nil
}

// openHosts starts Calico and the machines, and makes cp-1 listen.
func (s *stage) openHosts(ctx context.Context) (err error) {
	began := time.Now()
	s.hosts = &hosts{}
	s.printLine("· Starting Calico's API server")
	if s.hosts.calico, err = calico.Start(ctx, s.cluster, calico.Options{}); err != nil {
		return err
	}
	s.printLine("· Making each node a network namespace with a Felix, and one for an outsider")
	s.hosts.cluster, err = s.hosts.calico.StartCluster(ctx, calico.ClusterOptions{
		ControlPlane: controlPlaneNodes, Workers: workers, ExistingNodes: true, Felix: calico.FelixOptions{IPv6: true},
	})
	if err != nil {
		return err
	}
	for _, port := range []uint16{etcdPort, kubeletPort} {
		if _, err := s.hosts.cluster.Machine(target).Listen(network.TCP, port); err != nil {
			return err
		}
	}
	s.printLine("· Ready after %.0f s; %s listens on %d for its etcd and on %d for its kubelet",
		time.Since(began).Seconds(), target, etcdPort, kubeletPort)
	return nil
}

// closeHosts stops the machines and Calico, in the reverse order of the start.
func (h *hosts) closeHosts() error {
	var failures []error
	if h.cluster != nil {
		failures = append(failures, h.cluster.Stop())
	}
	if h.calico != nil {
		failures = append(failures, h.calico.Stop())
	}
	return errors.Join(failures...)
}

// oneLine returns an error's text without line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
