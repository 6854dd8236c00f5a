// SPDX-License-Identifier: Apache-2.0

package field

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

// Operator starts the operator with the shipped rights, and returns what ends
// it, which is also done when the test ends.
func (f *Field) Operator() (stop func()) { return f.operatorAs(OperatorConfig) }

func (f *Field) operatorAs(config *rest.Config) (stop func()) {
	f.T.Helper()
	return f.OperatorWith(config, controllers.Options{})
}

// OperatorWith runs it with options that tests have.
func (f *Field) OperatorWith(config *rest.Config, options controllers.Options) (stop func()) {
	f.T.Helper()
	mgr, err := operator.NewManager(config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(controllers.SetupWith(f.Background(), mgr, options)).To(Succeed())
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

// PolicyName is that of the only policy.
const PolicyName = "control-plane"

// Policy restricts etcd and the kubelet to the control plane.
func (f *Field) Policy(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	controlPlane := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName},
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

// Create creates the policy, which is gone again, with all that it called for,
// when the test ends.
func (f *Field) Create(policy *v1alpha1.ControlPlaneNetworkPolicy) {
	f.T.Helper()
	f.Expect(Admin.Create(f.T.Context(), policy)).To(Succeed())
	f.T.Cleanup(func() { f.Remove() })
}

// Remove deletes the policy, and waits until it is gone.
func (f *Field) Remove() {
	f.T.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: PolicyName}}
	f.Expect(client.IgnoreNotFound(Admin.Delete(context.Background(), policy))).To(Succeed())
	f.Eventually(func() error {
		return client.IgnoreNotFound(Admin.Get(context.Background(), client.ObjectKeyFromObject(policy), policy))
	}, Patience, Tick).Should(Succeed())
	f.Eventually(func() bool {
		return PolicyNow() == nil
	}, Patience, Tick).Should(BeTrue(), func() string { return fmt.Sprint(PolicyNow()) })
}

// PolicyNow is the policy as it is; nil if there is none.
func PolicyNow() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	if err := Admin.Get(context.Background(), client.ObjectKey{Name: PolicyName}, policy); err != nil {
		return nil
	}
	return policy
}

// Update changes the policy's spec.
func (f *Field) Update(change func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	f.T.Helper()
	f.Eventually(func() error {
		policy := PolicyNow()
		change(&policy.Spec)
		return Admin.Update(f.T.Context(), policy)
	}, Patience, Tick).Should(Succeed())
}

// Condition is a condition of the policy in the form Status/Reason, for this
// generation.
func Condition(kind string) func() string {
	return func() string {
		policy := PolicyNow()
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

// Message is that of a condition of the policy.
func Message(kind string) string {
	c := meta.FindStatusCondition(PolicyNow().Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return c.Message
}

// Reports waits for a condition.
func (f *Field) Reports(kind, want string) {
	f.T.Helper()
	f.Eventually(Condition(kind), Patience, Tick).Should(Equal(want), func() string {
		policy := PolicyNow()
		if policy == nil {
			return "the policy is gone"
		}
		text := fmt.Sprintf("hosts %+v\n", policy.Status.HostPolicies)
		for _, c := range policy.Status.Conditions {
			text += fmt.Sprintf("%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
		}
		return text + Enactments() + fmt.Sprintf("%+v", policy.Status.Drift)
	})
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

// KubeletOnly leaves out etcd, whose ports are failsafe ports.
func KubeletOnly(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
	s.Network.Components = s.Network.Components[1:]
}

// EtcdOnly leaves out the kubelet.
func EtcdOnly(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
	s.Network.Components = s.Network.Components[:1]
}

// Kubectl runs a line of the documentation.
func (f *Field) Kubectl(line string) {
	f.T.Helper()
	out, err := ControlPlane.Kubectl(f.T.Context(), strings.Fields(line)...).CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
}
