// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
)

// StartOperator starts the operator with the shipped rights, and returns a function to stop
// the operator. The operator also stops when the test ends.
func (f *Field) StartOperator() (stop func()) { return f.startOperatorAs(OperatorConfig) }

// StartQuickOperator starts an operator with a short wait for Felix between write stages.
// Use this operator only in tests that wait for packets to be dropped or accepted: an
// operator that writes the next stage before Felix has followed may cut a flow for a
// moment, and report a result too early.
func (f *Field) StartQuickOperator() (stop func()) {
	f.T.Helper()
	return f.StartOperatorWith(OperatorConfig, controllers.Options{StageTime: quickStage})
}

const quickStage = 200 * time.Millisecond

func (f *Field) startOperatorAs(config *rest.Config) (stop func()) {
	f.T.Helper()
	return f.StartOperatorWith(config, controllers.Options{})
}

// StartOperatorWith starts the operator with options for tests. Where no observer was
// started, the operator's clock runs ahead, so that the operator does not wait for
// observers.
func (f *Field) StartOperatorWith(config *rest.Config, options controllers.Options) (stop func()) {
	f.T.Helper()
	if options.Clock == nil && !f.observed {
		later := &operator.LaterClock{}
		later.Passes(operator.AnnounceTime)
		options.Clock = later
	}
	mgr, err := operator.NewManager(config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(controllers.SetupWithManager(f.BackgroundContext(), mgr, options)).To(Succeed())
	return f.startManager(mgr)
}

// startManager starts a manager, and returns a function to stop the manager, which also
// stops when the test ends.
func (f *Field) startManager(mgr ctrl.Manager) (stop func()) {
	f.T.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	f.Eventually(mgr.Elected(), Patience).Should(BeClosed())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			f.Expect(<-done).To(Succeed())
		}
	}
	f.T.Cleanup(stop)
	return stop
}

// DescribeEnactments describes how far every node is.
func DescribeEnactments() string {
	var list v1alpha1.ControlPlaneNodeEnactmentList
	if err := Admin.List(context.Background(), &list); err != nil {
		return err.Error()
	}
	var text strings.Builder
	for _, e := range list.Items {
		phase := rollout.PhaseOf(&e)
		fmt.Fprintf(&text, "%s %s", e.Name, phase)
		if c := meta.FindStatusCondition(e.Status.Conditions, phase); c != nil {
			fmt.Fprintf(&text, "/%s: %s", c.Reason, c.Message)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// RunKubectl runs a kubectl command line of the documentation.
func (f *Field) RunKubectl(line string) {
	f.T.Helper()
	out, err := ControlPlane.Kubectl(f.T.Context(), strings.Fields(line)...).CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
}

// StartObservers starts an observer on each of the given nodes, as the DaemonSet does, but
// with connections from the network of the node's machine.
func (f *Field) StartObservers(nodes ...string) {
	f.T.Helper()
	for _, node := range nodes {
		f.StartObserver(node)
	}
}

// StartObserver starts an observer, and returns a function to stop the observer, which also
// stops when the test ends. Start observers before the operator, because a later observer
// is not waited for.
func (f *Field) StartObserver(node string) (stop func()) {
	f.T.Helper()
	f.observed = true
	mgr, err := operator.NewManager(ControlPlane.Config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(probe.SetupObserver(mgr, &probe.Observer{Name: node, Dial: f.Cluster.Machine(node).DialContext})).To(Succeed())
	return f.startManager(mgr)
}
