// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// PolicyName is the name of the only policy.
const PolicyName = "control-plane"

// NewPolicy returns a policy that restricts etcd and the kubelet to the control plane.
func (f *Field) NewPolicy(change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	controlPlane := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: PolicyName},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}},
			Profile:      v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico", LoadBalancer: v1alpha1.LoadBalancerNone},
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

// CreatePolicy creates the policy, and deletes the policy with all managed objects when the
// test ends.
func (f *Field) CreatePolicy(policy *v1alpha1.ControlPlaneNetworkPolicy) {
	f.T.Helper()
	f.Expect(Admin.Create(f.T.Context(), policy)).To(Succeed())
	f.T.Cleanup(func() { f.RemovePolicy() })
}

// RemovePolicy deletes the policy, and waits until the policy is gone.
func (f *Field) RemovePolicy() {
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

// PolicyNow returns the current policy, or nil if there is none.
func PolicyNow() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	if err := Admin.Get(context.Background(), client.ObjectKey{Name: PolicyName}, policy); err != nil {
		return nil
	}
	return policy
}

// UpdatePolicy changes the policy's spec.
func (f *Field) UpdatePolicy(change func(*v1alpha1.ControlPlaneNetworkPolicySpec)) {
	f.T.Helper()
	f.Eventually(func() error {
		policy := PolicyNow()
		change(&policy.Spec)
		return Admin.Update(f.T.Context(), policy)
	}, Patience, Tick).Should(Succeed())
}

// ConditionOf returns a function that reads a condition of the policy as Status/Reason, for
// the current generation.
func ConditionOf(kind string) func() string {
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

// ConditionMessage returns the message of a condition of the policy.
func ConditionMessage(kind string) string {
	c := meta.FindStatusCondition(PolicyNow().Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return c.Message
}

// WaitForCondition waits until a condition of the policy is as wanted.
func (f *Field) WaitForCondition(kind, want string) {
	f.T.Helper()
	f.Eventually(ConditionOf(kind), Patience, Tick).Should(Equal(want), func() string {
		policy := PolicyNow()
		if policy == nil {
			return "the policy is gone"
		}
		text := fmt.Sprintf("hosts %+v\n", policy.Status.HostPolicies)
		for _, c := range policy.Status.Conditions {
			text += fmt.Sprintf("%s=%s %s: %s\n", c.Type, c.Status, c.Reason, c.Message)
		}
		return text + DescribeEnactments() + fmt.Sprintf("%+v", policy.Status.Drift)
	})
}

// KubeletOnly removes etcd from the policy, because etcd's ports are failsafe ports.
func KubeletOnly(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
	s.Network.Components = s.Network.Components[1:]
}

// EtcdOnly removes the kubelet from the policy.
func EtcdOnly(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
	s.Network.Components = s.Network.Components[:1]
}

// SoakFor sets how many seconds a node soaks.
func SoakFor(seconds int32) func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
	return func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.SoakSeconds = &seconds }
}

// AnnotatePolicy sets an annotation of the policy, or removes the annotation where the
// value is nil.
func (f *Field) AnnotatePolicy(key string, value *string) {
	f.T.Helper()
	text := "null"
	if value != nil {
		text = fmt.Sprintf("%q", *value)
	}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: PolicyName}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, text)
	f.Expect(Admin.Patch(f.T.Context(), policy, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
