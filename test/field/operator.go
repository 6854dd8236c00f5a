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

// Operator starts the operator with the shipped rights, and returns what ends
// it, which is also done when the test ends.
func (f *Field) Operator() (stop func()) { return f.operatorAs(OperatorConfig) }

// QuickOperator starts one that hardly waits for Felix between the stages of its writes. It
// is for tests that wait for what becomes of packets: an operator that goes on while Felix
// is behind may cut a flow for a moment, and promise what is not so yet.
func (f *Field) QuickOperator() (stop func()) {
	f.T.Helper()
	return f.OperatorWith(OperatorConfig, controllers.Options{StageTime: quickStage})
}

const quickStage = 200 * time.Millisecond

func (f *Field) operatorAs(config *rest.Config) (stop func()) {
	f.T.Helper()
	return f.OperatorWith(config, controllers.Options{})
}

// OperatorWith runs it with options that tests have. Where no observer was started, none
// is to come, and its clock is so much later that it waits for none.
func (f *Field) OperatorWith(config *rest.Config, options controllers.Options) (stop func()) {
	f.T.Helper()
	if options.Clock == nil && !f.observed {
		later := &operator.LaterClock{}
		later.Passes(operator.AnnounceTime)
		options.Clock = later
	}
	mgr, err := operator.NewManager(config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(controllers.SetupWithManager(f.Background(), mgr, options)).To(Succeed())
	return f.start(mgr)
}

// start starts a manager, and returns what ends it, which is also done when the
// test ends.
func (f *Field) start(mgr ctrl.Manager) (stop func()) {
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

// Enactments tells how far every node is.
func Enactments() string {
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

// Kubectl runs a line of the documentation.
func (f *Field) Kubectl(line string) {
	f.T.Helper()
	out, err := ControlPlane.Kubectl(f.T.Context(), strings.Fields(line)...).CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
}

// Observers runs an observer on each of the nodes, as the DaemonSet does, but
// with connections from within the node's network.
func (f *Field) Observers(nodes ...string) {
	f.T.Helper()
	for _, node := range nodes {
		f.Observer(node)
	}
}

// Observer runs one, and returns what ends it, which is also done when the test
// ends. It is started before the operator, which else does not wait for it.
func (f *Field) Observer(node string) (stop func()) {
	f.T.Helper()
	f.observed = true
	mgr, err := operator.NewManager(ControlPlane.Config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(probe.SetupObserver(mgr, &probe.Observer{Name: node, Dial: f.Cluster.Machine(node).DialContext})).To(Succeed())
	return f.start(mgr)
}
