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

// The ports of cp-1 that the story is about.
const (
	etcdPort    = 2379  // a failsafe port of Felix
	kubeletPort = 10250 // none
)

// hosts are the demo's nodes as machines, each a network namespace with a Felix
// that enforces Calico's policies.
type hosts struct {
	calico  *calico.Calico
	cluster *calico.Cluster
}

// lookForPackets finds out whether packets can be tried here. Calico is built
// for it, unless it was: the story begins meanwhile.
func (s *stage) lookForPackets(ctx context.Context) error {
	s.noPackets = calico.Available(ctx)
	if s.noPackets == nil {
		s.calico = build(ctx, func(ctx context.Context, progress io.Writer) error {
			_, err := calico.FindAssets(ctx, progress)
			return err
		})
	}
	return s.mustHavePackets()
}

// waitForCalico waits until Calico is built.
func (s *stage) waitForCalico() error {
	if s.noPackets == nil {
		s.noPackets = s.calico.wait(s.out)
	}
	return s.mustHavePackets()
}

// mustHavePackets fails where packets must be tried and can not be.
func (s *stage) mustHavePackets() error {
	if s.noPackets != nil && network.Required() {
		return fmt.Errorf("%s=required, but packets can not be tried here: %w", network.Variable, s.noPackets)
	}
	return nil
}

// openHosts starts Calico and the machines, and lets cp-1 listen.
func (s *stage) openHosts(ctx context.Context) (err error) {
	began := time.Now()
	s.hosts = &hosts{}
	s.say("· Starting Calico's API server")
	if s.hosts.calico, err = calico.Start(ctx, s.cluster, calico.Options{}); err != nil {
		return err
	}
	s.say("· Making each node a network namespace with a Felix, and one for an outsider")
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
	s.say("· Ready after %.0f s; %s listens on %d for its etcd and on %d for its kubelet",
		time.Since(began).Seconds(), target, etcdPort, kubeletPort)
	return nil
}

// close ends what was started, the other way round.
func (h *hosts) close() error {
	var failures []error
	if h.cluster != nil {
		failures = append(failures, h.cluster.Stop())
	}
	if h.calico != nil {
		failures = append(failures, h.calico.Stop())
	}
	return errors.Join(failures...)
}

// oneLine is an error's text without line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
