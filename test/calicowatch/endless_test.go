// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	served "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/follow"
)

// TestEndlessListIsReported: a server with an endless list of a kind is a problem of the
// same kind only.
func TestEndlessListIsReported(t *testing.T) {
	g := NewWithT(t)
	s := startStub(t, "hostendpoints")
	f := startFollower(t, soon)
	c := f.waitForMode(served.Aggregated, "HostEndpoint cannot be read",
		"the server has not answered within 2s")
	g.Expect(namesOf(c.Tiers)).To(Equal([]string{"default"}))
	g.Expect(c.Endpoints).To(BeEmpty())

	s.Finish()
	c = f.waitForMode(served.Aggregated)
	g.Expect(namesOf(c.Endpoints)).To(Equal([]string{"default"}))
}

// TestManagerServesAndStops: a manager with such a follower serves, and stops in time.
func TestManagerServesAndStops(t *testing.T) {
	g := NewWithT(t)
	startStub(t, "hostendpoints")
	address := freeAddress(t)
	mgr, err := ctrl.NewManager(userConfig, ctrl.Options{
		HealthProbeBindAddress: address,
		Metrics:                metricsserver.Options{BindAddress: "0"},
		LeaderElection:         false,
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(mgr.AddReadyzCheck("ping", healthz.Ping)).To(Succeed())
	follower, err := follow.NewFollower(mgr.GetConfig(), follow.Options{Patience: soon})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(mgr.Add(follower)).To(Succeed())

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	g.Eventually(func() string { return follower.Read().Problem }, deadline, interval).Should(ContainSubstring("HostEndpoint cannot be read"))
	g.Expect(ended).NotTo(Receive())
	g.Expect(checkReady(t, address)).To(Succeed())

	cancel()
	g.Eventually(ended, 5*time.Second).Should(Receive(BeNil()))
	g.Eventually(followerGoroutines, 5*time.Second, interval).Should(BeEmpty())
}

func checkReady(t *testing.T, address string) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", response.Status)
	}
	return nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	defer listener.Close()
	return listener.Addr().String()
}
