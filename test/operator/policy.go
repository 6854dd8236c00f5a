// SPDX-License-Identifier: Apache-2.0

package operator

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// StoryLabel is the label of the nodes and Services that a test's policy selects. The value
// is the name of the policy and of the test's namespace.
const StoryLabel = "story"

// Policy returns a policy with every kind of declaration: rules and failsafe ports on
// nodes, a NetworkPolicy, a taint, a traffic policy.
func Policy(name string, change ...func(*v1alpha1.ControlPlaneNetworkPolicySpec)) *v1alpha1.ControlPlaneNetworkPolicy {
	labels := func(key, value string) v1alpha1.LabelSelector {
		return v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{key: v1alpha1.LabelValue(value)}}
	}
	controlPlane := []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: labels(StoryLabel, name),
			Profile:      v1alpha1.Profile{Distribution: "kubeadm", CNI: "calico"},
			Rollout:      &v1alpha1.Rollout{SoakSeconds: ptr.To(int32(0))},
			Taints:       []v1alpha1.Taint{{Key: testbed.ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}},
			Services: []v1alpha1.ServiceTrafficPolicy{{
				Name: "all", Selector: labels(StoryLabel, name), NamespaceSelector: &v1alpha1.LabelSelector{},
				InternalTrafficPolicy: corev1.ServiceInternalTrafficPolicyLocal, LocalPolicy: v1alpha1.LocalForce,
			}},
			Network: &v1alpha1.NetworkSpec{
				Failsafe: v1alpha1.FailsafeScope,
				Components: []v1alpha1.Component{
					{Name: "etcd", AllowFrom: controlPlane},
					{Name: "kubelet", AllowFrom: controlPlane},
					{
						Name:      "coredns",
						Pods:      &v1alpha1.PodSelector{Namespace: name, Selector: labels("k8s-app", "kube-dns")},
						Ports:     []v1alpha1.Port{{Protocol: "UDP", Port: 53}},
						AllowFrom: controlPlane,
					},
				},
			},
		},
	}
	for _, c := range change {
		c(&policy.Spec)
	}
	return policy
}
