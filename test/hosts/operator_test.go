// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
)

// operator starts the operator with the shipped rights, and returns what ends
// it, which is also done when the test ends.
func (f *field) operator() (stop func()) { return f.operatorAs(operatorConfig) }

func (f *field) operatorAs(config *rest.Config) (stop func()) {
	f.t.Helper()
	return f.operatorWith(config, controllers.Options{})
}

func (f *field) operatorWith(config *rest.Config, options controllers.Options) (stop func()) {
	f.t.Helper()
	mgr, err := operator.NewManager(config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(controllers.SetupWith(f.background(), mgr, options)).To(Succeed())
	return f.start(mgr)
}

// start starts a manager, and returns what ends it, which is also done when the
// test ends.
func (f *field) start(mgr ctrl.Manager) (stop func()) {
	f.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	f.Eventually(mgr.Elected(), patience).Should(BeClosed())
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			f.Expect(<-done).To(Succeed())
		}
	}
	f.t.Cleanup(stop)
	return stop
}

const policyName = "control-plane"

// policy restricts etcd and the kubelet to the control plane.
func (f *field) policy(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	controlPlane := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: policyName},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}},
			Profile:      v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico"},
			Rollout:      &v1alpha1.Rollout{SoakSeconds: ptr.To(int32(0))},
			Network: &v1alpha1.NetworkSpec{Components: []v1alpha1.Component{
				{Name: "etcd", AllowFrom: controlPlane}, {Name: "kubelet", AllowFrom: controlPlane},
			}},
		},
	}
	for _, c := range change {
		c(&policy.Spec)
	}
	return policy
}

// create creates the policy, which is gone again, with all that it called for,
// when the test ends.
func (f *field) create(policy *v1alpha1.ControlPlaneNetworkPolicy) {
	f.t.Helper()
	f.Expect(admin.Create(f.t.Context(), policy)).To(Succeed())
	f.t.Cleanup(func() { f.remove() })
}

func (f *field) remove() {
	f.t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: policyName}}
	f.Expect(client.IgnoreNotFound(admin.Delete(context.Background(), policy))).To(Succeed())
	f.Eventually(func() error {
		return client.IgnoreNotFound(admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy))
	}, patience, tick).Should(Succeed())
	f.Eventually(func() bool {
		return policyNow() == nil
	}, patience, tick).Should(BeTrue(), func() string { return fmt.Sprint(policyNow()) })
}

func policyNow() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	if err := admin.Get(context.Background(), client.ObjectKey{Name: policyName}, policy); err != nil {
		return nil
	}
	return policy
}

// update changes the policy's spec.
func (f *field) update(change func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	f.t.Helper()
	f.Eventually(func() error {
		policy := policyNow()
		change(&policy.Spec)
		return admin.Update(f.t.Context(), policy)
	}, patience, tick).Should(Succeed())
}

// condition is a condition of the policy in the form Status/Reason, for this
// generation.
func condition(kind string) func() string {
	return func() string {
		policy := policyNow()
		if policy == nil {
			return "gone"
		}
		c := meta.FindStatusCondition(policy.Status.Conditions, kind)
		if c == nil || c.ObservedGeneration != policy.Generation {
			return "none"
		}
		return string(c.Status) + "/" + c.Reason
	}
}

func message(kind string) string {
	c := meta.FindStatusCondition(policyNow().Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return c.Message
}

// reports waits for a condition.
func (f *field) reports(kind, want string) {
	f.t.Helper()
	f.Eventually(condition(kind), patience, tick).Should(Equal(want), func() string {
		policy := policyNow()
		if policy == nil {
			return "the policy is gone"
		}
		text := fmt.Sprintf("hosts %+v\n", policy.Status.HostPolicies)
		for _, c := range policy.Status.Conditions {
			text += fmt.Sprintf("%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
		}
		return text + enactments() + fmt.Sprintf("%+v", policy.Status.Drift)
	})
}

// enactments tells how far every node is.
func enactments() string {
	var list v1alpha1.ControlPlaneNodeEnactmentList
	if err := admin.List(context.Background(), &list); err != nil {
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
