// SPDX-License-Identifier: Apache-2.0

package stale

import (
	"context"
	"net"
	"strings"
	"syscall"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
)

// startObserver runs the observer of the second node until s.stopObserver is called, and waits for the
// observer's first answer: a node is started without observers that announce themselves late. There
// are no packets here: the observer reaches every address, except on nodes whose rules cut flows.
func (s *story) startObserver() {
	s.t.Helper()
	mgr, err := operator.NewManager(s.config)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(probe.SetupObserver(mgr, &probe.Observer{Name: s.node(1), Dial: s.dial})).To(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	s.stopObserver = func() {
		s.stopObserver = func() {}
		s.harmless.Store(nil)
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("the observer ended with: %v", err)
		}
	}
	s.Eventually(s.observersOf(0)).Should(ContainElement(s.node(1)), s.tell)
}

// makeNewRulesCut makes every ruleset cut what it restricts, except the one that nodes have now.
func (s *story) makeNewRulesCut() {
	s.t.Helper()
	versions := s.versions()
	s.Expect(versions).To(HaveLen(1))
	s.harmless.Store(&versions[0])
}

func (s *story) dial(ctx context.Context, _, address string) (net.Conn, error) {
	if harmless := s.harmless.Load(); harmless != nil {
		var endpoints v3.HostEndpointList
		if err := s.admin.List(ctx, &endpoints, client.MatchingLabels{calico.LabelEnforced: "true"}); err != nil {
			return nil, err
		}
		for i := range endpoints.Items {
			for _, of := range endpoints.Items[i].Spec.ExpectedIPs {
				if strings.HasPrefix(address, of+":") && endpoints.Items[i].Labels[calico.LabelVersion] != *harmless {
					return nil, syscall.ECONNREFUSED
				}
			}
		}
	}
	here, there := net.Pipe()
	return here, there.Close()
}
