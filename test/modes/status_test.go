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

// Conditions in the form of [story.says].
const (
	programmed = "Programmed=True/AsDeclared"
	verified   = "Verified=True/Verified"
)

func (s *story) get(name string) *v1alpha1.ControlPlaneNetworkPolicy {
	s.t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	s.Expect(admin.Get(s.ctx, client.ObjectKey{Name: name}, policy)).To(Succeed())
	return policy
}

// conditions are those of the present generation, as "Type=Status/Reason".
func (s *story) conditions(name string) func() []string {
	return func() []string {
		policy := s.get(name)
		var texts []string
		for _, c := range policy.Status.Conditions {
			if c.ObservedGeneration == policy.Generation {
				texts = append(texts, fmt.Sprintf("%s=%s/%s", c.Type, c.Status, c.Reason))
			}
		}
		return texts
	}
}

// says waits for conditions of the policy.
func (s *story) says(name string, conditions ...string) {
	s.t.Helper()
	s.Eventually(s.conditions(name)).Should(ContainElements(conditions), func() string { return s.tell(name) })
}

// tell is the whole status, for when it is not as it should be.
func (s *story) tell(name string) string {
	policy := s.get(name)
	text := fmt.Sprintf("%v, hosts %v\n", policy.Finalizers, counts(policy.Status.HostPolicies))
	for _, c := range policy.Status.Conditions {
		text += fmt.Sprintf("%s=%s/%s: %s\n", c.Type, c.Status, c.Reason, c.Message)
	}
	for _, d := range policy.Status.Drift {
		text += fmt.Sprintf("%+v\n", d)
	}
	return text
}

func counts(count v1alpha1.SyncCount) string {
	if count.Declared == nil || count.InSync == nil {
		return "none"
	}
	return fmt.Sprintf("%d/%d", *count.InSync, *count.Declared)
}

func (s *story) message(name, kind string) func() string {
	return func() string {
		if c := meta.FindStatusCondition(s.get(name).Status.Conditions, kind); c != nil {
			return c.Message
		}
		return ""
	}
}

// unprotected waits until the policy says why nothing protects its hosts, with
// the texts in the message. While Calico cannot be read, nobody knows whether the
// declared restrictions are safe; else there is nothing to judge.
func (s *story) unprotected(name, reason string, texts ...string) {
	s.t.Helper()
	judged := verified
	if reason == v1alpha1.ReasonCalicoUnavailable {
		judged = "Verified=Unknown/" + reason
	}
	s.says(name, "Programmed=False/"+reason, "Effective=False/"+reason, "Ready=False/"+reason, judged)
	for _, kind := range []string{v1alpha1.ConditionProgrammed, v1alpha1.ConditionEffective} {
		for _, text := range texts {
			s.Eventually(s.message(name, kind)).Should(ContainSubstring(text))
		}
	}
}

// gone waits until the policy is.
func (s *story) gone(name string) {
	s.t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	s.Eventually(func() bool {
		return apierrors.IsNotFound(admin.Get(s.ctx, client.ObjectKey{Name: name}, policy))
	}).Should(BeTrue(), func() string { return s.tell(name) })
}

// rest is what the operator writes besides objects of Calico: taints, fields of
// Services and NetworkPolicies.
func (s *story) rest() []string {
	s.t.Helper()
	var found []string
	var nodes corev1.NodeList
	s.Expect(admin.List(s.ctx, &nodes, client.MatchingLabels(s.label()))).To(Succeed())
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

// calicoLists are the kinds of Calico that the operator writes.
func calicoLists() []client.ObjectList {
	return []client.ObjectList{
		&v3.TierList{}, &v3.GlobalNetworkSetList{}, &v3.GlobalNetworkPolicyList{}, &v3.HostEndpointList{}, &v3.FelixConfigurationList{},
	}
}

// inventory is what there is of these kinds, as "Kind/name".
func (s *story) inventory() []string {
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

// version is that of the rules that are there for a policy: once every node has
// them, there is no other.
func (s *story) version(policy string) string {
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

// part is the name of a policy of Calico that is there, of those with a version.
func (s *story) part(policy, part string) string {
	s.t.Helper()
	return render.PolicyName(policy, part) + "-" + s.version(policy)
}

// whole are the objects of Calico that the story's policy calls for, as in the
// inventory.
func (s *story) whole(policy string, nodes ...string) []string {
	names := []string{
		"Tier/" + render.TierName,
		"GlobalNetworkSet/" + render.SetName(policy, "control-plane-0"),
		"GlobalNetworkSet/" + render.SetName(policy, "api-servers-0"), // no node shows the address of the test bed's
		"GlobalNetworkPolicy/" + render.PolicyName(policy, "self"),
	}
	for _, part := range []string{"required", "allow-etcd", "allow-kubelet", "deny-etcd", "deny-kubelet"} {
		names = append(names, "GlobalNetworkPolicy/"+s.part(policy, part))
	}
	for _, node := range nodes {
		names = append(names, "HostEndpoint/"+render.EndpointName(node, ""), "FelixConfiguration/"+render.FelixConfigurationName(node))
	}
	return names
}

// enactments are those of a policy's nodes, as "node phase".
func (s *story) enactments(policy string) func() []string {
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

// events are the reasons of the events on a policy.
func (s *story) events(name string) func() []string {
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
