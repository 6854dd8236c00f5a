// SPDX-License-Identifier: Apache-2.0

// Package definitions tests the operator and the observers of this version on an API
// server with the definitions of the version before: ControlPlaneNodePosture is missing.
package definitions

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	deadline = 60 * time.Second
	interval = 50 * time.Millisecond
	crds     = "../../config/crd/bases/cpnp.dev_"
)

var cluster *testbed.ControlPlane

func TestMain(m *testing.M) {
	ctrl.SetLogger(logr.Discard())
	os.Exit(testbed.Run(m, testbed.Options{CRDPaths: []string{
		crds + "controlplanenetworkpolicies.yaml", crds + "controlplanenodeenactments.yaml", crds + "controlplanenoderecords.yaml",
	}}, &cluster))
}

// A missing definition for reports prevents no other work.
func TestOperatorEnforcesWithoutPostures(t *testing.T) {
	g := NewWithT(t)
	admin, err := client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(testbed.CreateNode(t.Context(), admin, testbed.Node("cp-1", testbed.ControlPlaneNode(), testbed.WithoutKwok()))).To(Succeed())
	start(t, func(mgr ctrl.Manager) error {
		if err := controllers.SetupWithManager(t.Context(), mgr, controllers.Options{}); err != nil {
			return err
		}
		return probe.SetupOperator(mgr)
	})
	policy := &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "plane"},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{testbed.ControlPlaneRole: ""}},
			Profile:      v1alpha1.Profile{Distribution: "kubeadm"},
			Taints:       []v1alpha1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule}},
			Posture:      &v1alpha1.PostureSpec{TLS: &v1alpha1.TLSPosture{}},
		},
	}
	g.Expect(admin.Create(t.Context(), policy)).To(Succeed())
	g.Eventually(func() []corev1.Taint {
		node := &corev1.Node{}
		g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "cp-1"}, node)).To(Succeed())
		return node.Spec.Taints
	}, deadline, interval).Should(ContainElement(HaveField("Key", "dedicated")))
	g.Eventually(func() string {
		g.Expect(admin.Get(t.Context(), client.ObjectKeyFromObject(policy), policy)).To(Succeed())
		condition := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionTLSCompliant)
		if condition == nil {
			return ""
		}
		return string(condition.Status) + " " + condition.Message
	}, deadline, interval).Should(HavePrefix("Unknown The API server does not serve ControlPlaneNodePostures: apply the CustomResourceDefinitions"))
}

func TestObserversOfRolloutsWorkWithoutPostures(t *testing.T) {
	g := NewWithT(t)
	start(t, func(mgr ctrl.Manager) error { return probe.SetupNode(mgr, "cp-1") })
	admin, err := client.New(options.UnthrottledConfig(cluster.Config), client.Options{Scheme: options.NewScheme()})
	g.Expect(err).NotTo(HaveOccurred())
	round := int64(1)
	enactment := &v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: "plane.cp-1"},
		Spec:       v1alpha1.ControlPlaneNodeEnactmentSpec{Policy: "plane", Node: "cp-1", ProbeRound: &round},
	}
	g.Expect(admin.Create(t.Context(), enactment)).To(Succeed())
	enactment.Status.RequestedProbeRound, enactment.Status.ProbeRequestHash = round, enactment.Spec.ProbeRequestHash()
	g.Expect(admin.Status().Update(t.Context(), enactment)).To(Succeed())
	g.Eventually(func() []v1alpha1.Observation {
		g.Expect(admin.Get(t.Context(), client.ObjectKeyFromObject(enactment), enactment)).To(Succeed())
		return enactment.Status.Observers
	}, deadline, interval).Should(HaveExactElements(HaveField("Name", "cp-1")))
}

// start starts a manager, which ends with the test.
func start(t *testing.T, setup func(ctrl.Manager) error) {
	t.Helper()
	g := NewWithT(t)
	mgr, err := operator.NewManager(cluster.Config)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(setup(mgr)).To(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}
