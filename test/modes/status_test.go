// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// Conditions in the form of [story.waitForConditions].
const (
	programmed = "Programmed=True/AsDeclared"
	verified   = "Verified=True/Verified"
)

func (s *story) getPolicy(name string) *v1alpha1.ControlPlaneNetworkPolicy {
	s.t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	s.Expect(admin.Get(s.ctx, client.ObjectKey{Name: name}, policy)).To(Succeed())
	return policy
}

// conditionsOf returns the conditions of the current generation, as "Type=Status/Reason".
func (s *story) conditionsOf(name string) func() []string {
	return func() []string {
		policy := s.getPolicy(name)
		var texts []string
		for _, c := range policy.Status.Conditions {
			if c.ObservedGeneration == policy.Generation {
				texts = append(texts, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
			}
		}
		return texts
	}
}

// waitForConditions waits for conditions of the policy.
func (s *story) waitForConditions(name string, conditions ...string) {
	s.t.Helper()
	s.Eventually(s.conditionsOf(name)).Should(ContainElements(conditions), func() string { return s.describeStatus(name) })
}

// describeStatus describes the whole status for failure messages.
func (s *story) describeStatus(name string) string {
	policy := s.getPolicy(name)
	text := fmt.Sprintf("%v, hosts %v\n", policy.Finalizers, textOfCount(policy.Status.HostPolicies))
	for _, c := range policy.Status.Conditions {
		text += fmt.Sprintf("%s=%s/%s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, d := range policy.Status.Drift {
		text += fmt.Sprintf("%+v\n", d)
	}
	return text
}

func textOfCount(count v1alpha1.SyncCount) string {
	if count.Declared == nil || count.InSync == nil {
		return "none"
	}
	return fmt.Sprintf("%d/%d", *count.InSync, *count.Declared)
}

func (s *story) messageOf(name, kind string) func() string {
	return func() string {
		if c := meta.FindStatusCondition(s.getPolicy(name).Status.Conditions, kind); c != nil {
			return c.Message
		}
		return ""
	}
}

// waitUntilUnprotected waits until the policy reports why hosts are not protected, with the
// given texts in the message. While Calico cannot be read, the verdict on the declared
// restrictions is unknown; otherwise there is nothing to judge.
func (s *story) waitUntilUnprotected(name, reason string, texts ...string) {
	s.t.Helper()
	judged := verified
	if reason == v1alpha1.ReasonCalicoUnavailable {
		judged = "Verified=Unknown/" + reason
	}
	s.waitForConditions(name, "Programmed=False/"+reason, "Effective=False/"+reason, "Ready=False/"+reason, judged)
	for _, kind := range []string{v1alpha1.ConditionProgrammed, v1alpha1.ConditionEffective} {
		for _, text := range texts {
			s.Eventually(s.messageOf(name, kind)).Should(ContainSubstring(text))
		}
	}
}

// waitUntilGone waits until the policy is gone.
func (s *story) waitUntilGone(name string) {
	s.t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	s.Eventually(func() bool {
		return apierrors.IsNotFound(admin.Get(s.ctx, client.ObjectKey{Name: name}, policy))
	}).Should(BeTrue(), func() string { return s.describeStatus(name) })
}

// otherWrites lists all that the operator writes beside Calico's objects: taints, fields of
// Services, and NetworkPolicies.
func (s *story) otherWrites() []string {
	s.t.Helper()
	var found []string
	var nodes corev1.NodeList
	s.Expect(admin.List(s.ctx, &nodes, client.MatchingLabels(s.storyLabels()))).To(Succeed())
	for _, node := range nodes.Items {
		for _, taint := range node.Spec.Taints {
			if !strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
				found = append(found, node.Name+" "+taint.ToString())
			}
		}
		record := &v1alpha1.ControlPlaneNodeRecord{}
		if !apierrors.IsNotFound(admin.Get(s.ctx, client.ObjectKey{Name: node.Name}, record)) {
			found = append(found, node.Name+" is recorded")
		}
	}
	var services corev1.ServiceList
	s.Expect(admin.List(s.ctx, &services, client.InNamespace(s.name))).To(Succeed())
	for _, service := range services.Items {
		found = append(found, fmt.Sprintf("%s %s", service.Name, *service.Spec.InternalTrafficPolicy))
	}
	var policies networkingv1.NetworkPolicyList
	s.Expect(admin.List(s.ctx, &policies, client.InNamespace(s.name))).To(Succeed())
	for _, policy := range policies.Items {
		found = append(found, policy.Name)
	}
	return found
}

// calicoLists returns lists of the Calico kinds written by the operator.
func calicoLists() []client.ObjectList {
	return []client.ObjectList{
		&v3.TierList{}, &v3.GlobalNetworkSetList{}, &v3.GlobalNetworkPolicyList{}, &v3.HostEndpointList{}, &v3.FelixConfigurationList{},
	}
}

// listInventory returns the existing objects of all written kinds, as "Kind/name".
func (s *story) listInventory() []string {
	s.t.Helper()
	var names []string
	for _, list := range calicoLists() {
		s.Eventually(func() error { return admin.List(s.ctx, list) }).Should(Succeed())
		s.Expect(meta.EachListItem(list, func(object runtime.Object) error {
			name := object.(client.Object).GetName()
			kind := strings.TrimPrefix(fmt.Sprintf("%T", object), "*v3.")
			names = append(names, kind+"/"+name)
			return nil
		})).To(Succeed())
	}
	slices.Sort(names)
	return names
}

// versionOf returns the version of the existing rules of a policy: once every node has
// these rules, no other version is left.
func (s *story) versionOf(policy string) string {
	s.t.Helper()
	var list v3.GlobalNetworkPolicyList
	s.Eventually(func() error { return admin.List(s.ctx, &list, client.MatchingLabels{v1alpha1.LabelPolicy: policy}) }).Should(Succeed())
	found := map[string]bool{}
	for _, p := range list.Items {
		if version, versioned := p.Labels[render.LabelVersion]; versioned {
			found[version] = true
		}
	}
	versions := slices.Collect(maps.Keys(found))
	s.Expect(versions).To(HaveExactElements(MatchRegexp("^[0-9a-f]{8}$")))
	return versions[0]
}

// partName returns the name of an existing Calico policy, including the version.
func (s *story) partName(policy, partName string) string {
	s.t.Helper()
	return render.PolicyName(policy, partName) + "-" + s.versionOf(policy)
}

// completeInventory returns all Calico objects which the story's policy needs, in the form
// of listInventory.
func (s *story) completeInventory(policy string, nodes ...string) []string {
	names := []string{
		"Tier/" + render.TierName,
		"GlobalNetworkSet/" + render.SetName(policy, "control-plane-0"),
		"GlobalNetworkSet/" + render.SetName(policy, "api-servers-0"), // no node shows the address of the test bed's API server
		"GlobalNetworkPolicy/" + render.PolicyName(policy, "self"),
	}
	for _, part := range []string{"required", "allow-etcd", "allow-kubelet", "deny-etcd", "deny-kubelet"} {
		names = append(names, "GlobalNetworkPolicy/"+s.partName(policy, part))
	}
	for _, node := range nodes {
		names = append(names, "HostEndpoint/"+render.EndpointName(node, ""), "FelixConfiguration/"+render.FelixConfigurationName(node))
	}
	return names
}

// enactmentsOf returns the enactments of a policy's nodes, as "node phase".
func (s *story) enactmentsOf(policy string) func() []string {
	return func() []string {
		var list v1alpha1.ControlPlaneNodeEnactmentList
		s.Expect(admin.List(s.ctx, &list)).To(Succeed())
		var found []string
		for i := range list.Items {
			if e := &list.Items[i]; e.Spec.Policy == policy {
				found = append(found, e.Spec.Node+" "+rollout.PhaseOf(e))
			}
		}
		return found
	}
}

// eventsOf returns the reasons of the events of a policy.
func (s *story) eventsOf(name string) func() []string {
	return func() []string {
		var list eventsv1.EventList
		s.Expect(admin.List(s.ctx, &list)).To(Succeed())
		var reasons []string
		for _, e := range list.Items {
			if e.Regarding.Name == name {
				reasons = append(reasons, e.Reason)
			}
		}
		return reasons
	}
}
