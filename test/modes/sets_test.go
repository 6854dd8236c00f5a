// SPDX-License-Identifier: Apache-2.0

package modes

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// adding is an item added by a foreign manager to a list in a managed object.
type adding struct{ kind, name, field, item string }

func (a adding) readObject(s *story) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetAPIVersion(v3.GroupVersionCurrent)
	object.SetKind(a.kind)
	s.Expect(admin.Get(context.Background(), client.ObjectKey{Name: a.name}, object)).To(Succeed())
	return object
}

// listItems returns the items of the field.
func (a adding) listItems(s *story) []string {
	items, _, err := unstructured.NestedStringSlice(a.readObject(s).Object, "spec", a.field)
	s.Expect(err).NotTo(HaveOccurred())
	return items
}

// addBy adds the item, either as kubectl edit does or as a manager that declares the item.
func (a adding) addBy(s *story, manager string, declares bool) {
	s.t.Helper()
	s.Eventually(func() error {
		object := a.readObject(s)
		items, _, _ := unstructured.NestedStringSlice(object.Object, "spec", a.field)
		items = append(items, a.item)
		if !declares {
			s.Expect(unstructured.SetNestedStringSlice(object.Object, items, "spec", a.field)).To(Succeed())
			return admin.Update(context.Background(), object, client.FieldOwner(manager))
		}
		declared := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
		declared.SetAPIVersion(v3.GroupVersionCurrent)
		declared.SetKind(a.kind)
		declared.SetName(a.name)
		if a.kind == "HostEndpoint" { // required by the schema in every apply, merged or not
			node, _, _ := unstructured.NestedString(object.Object, "spec", "node")
			s.Expect(unstructured.SetNestedField(declared.Object, node, "spec", "node")).To(Succeed())
		}
		s.Expect(unstructured.SetNestedStringSlice(declared.Object, items, "spec", a.field)).To(Succeed())
		return admin.Apply(context.Background(), client.ApplyConfigurationFromUnstructured(declared), client.FieldOwner(manager), client.ForceOwnership)
	}).Should(Succeed())
}

// additionsAreRemoved: foreign items in a managed list are removed, whether or not the list
// is a set. From a set, a server-side apply removes only its own items. The status names
// the manager.
func additionsAreRemoved(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes()[0]
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift")
	s.waitUntilQuiet()
	endpoint := render.EndpointName(node, "")
	for _, a := range []adding{
		{"GlobalNetworkSet", render.SetName(s.name, "control-plane-0"), "nets", "198.51.100.7/32"},
		{"HostEndpoint", endpoint, "profiles", "open"},
		{"HostEndpoint", endpoint, "expectedIPs", "198.51.100.7"},
		{"GlobalNetworkPolicy", s.partName(s.name, "deny-kubelet"), "types", "Egress"},
	} {
		for manager, declares := range map[string]bool{"kubectl-edit": false, "mallory": true} {
			before, mark := a.listItems(s), s.markAuditLog()
			a.addBy(s, manager, declares)
			s.Eventually(func() []string { return a.listItems(s) }).Should(ConsistOf(before), a.field+" by "+manager)
			s.Eventually(func() *v1alpha1.Drift { return s.getPolicy(s.name).Status.LastDrift }).Should(And(Not(BeNil()),
				HaveField("Name", a.name), HaveField("Field", "spec."+a.field), HaveField("Manager", manager)))
			s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift")
			s.waitUntilQuiet()
			s.Expect(s.requestsSince(mark, writesToCalico)).To(HaveLen(1), "a repair is one write")
		}
	}
	a := adding{"HostEndpoint", endpoint, "", ""}
	s.patchObject(&v3.HostEndpoint{ObjectMeta: metaNamed(endpoint)}, `{"metadata":{"labels":{"cpnp.dev/interface":"eth0","team":"edge"}}}`)
	s.Eventually(func() map[string]string { return a.readObject(s).GetLabels() }).Should(And(Not(HaveKey("cpnp.dev/interface")), HaveKey("team")))
	s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift")
	s.removePolicy(s.name)
}

// contestsAtAPace: a manager that adds an item again and again is contested at a limited
// pace, and named.
func contestsAtAPace(t *testing.T) {
	s := beginStory(t)
	s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift")
	a := adding{"GlobalNetworkSet", render.SetName(s.name, "control-plane-0"), "nets", "198.51.100.7/32"}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		declared := map[string]any{"spec": map[string]any{"nets": []any{a.item}}}
		for ctx.Err() == nil {
			object := &unstructured.Unstructured{Object: declared}
			object = object.DeepCopy()
			object.SetAPIVersion(v3.GroupVersionCurrent)
			object.SetKind(a.kind)
			object.SetName(a.name)
			_ = admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("gitops"), client.ForceOwnership)
			select {
			case <-ctx.Done():
			case <-time.After(2 * tick):
			}
		}
	}()
	end := func() { stop(); <-done }
	t.Cleanup(end)
	s.waitForConditions(s.name, "Drifted=True/Contested")
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionDrifted)()).To(ContainSubstring("gitops"))
	const seconds = 4
	mark := s.markAuditLog()
	s.Consistently(s.conditionsOf(s.name), seconds*time.Second).Should(ContainElement(HavePrefix("Drifted=True/Contested")))
	writes := s.requestsSince(mark, writesToCalico)
	s.Expect(len(writes)).To(BeNumerically("<=", seconds+2), "%v", writes)
	end()
	s.Eventually(func() []string { return a.listItems(s) }).ShouldNot(ContainElement(a.item))
	s.removePolicy(s.name)
}

// reportsMutation: where the API server itself changes the written object, nothing was
// repaired. The status reports the change until the object is right, and the write is not
// repeated over and over.
func reportsMutation(t *testing.T) {
	s := beginStory(t)
	s.createNodes()
	s.startOperator()
	s.createObjects(s.newPolicy())
	s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift")
	a := adding{"GlobalNetworkSet", render.SetName(s.name, "control-plane-0"), "nets", "198.51.100.7/32"}
	before := a.listItems(s)
	const expression = `Object{spec: Object.spec{nets: object.spec.nets.exists(n, n == "198.51.100.7/32") ? object.spec.nets : object.spec.nets + ["198.51.100.7/32"]}}`
	meddler := s.createAdmissionPolicy(a, expression)
	s.Eventually(func() []string {
		s.patchObject(&v3.GlobalNetworkSet{ObjectMeta: metaNamed(a.name)}, `{"metadata":{"annotations":{"again":"`+time.Now().Format(time.RFC3339Nano)+`"}}}`)
		return a.listItems(s)
	}).Should(ContainElement(a.item))
	s.waitForConditions(s.name, "Programmed=False/ApplyFailed", "Drifted=True/Drifted", "Ready=False/ApplyFailed")
	s.Expect(s.messageOf(s.name, v1alpha1.ConditionProgrammed)()).To(And(ContainSubstring("198.51.100.7/32"), ContainSubstring("admission webhook")))
	s.Expect(s.getPolicy(s.name).Status.LastDrift).To(BeNil(), "nothing was repaired")
	mark := s.markAuditLog()
	s.Consistently(s.conditionsOf(s.name), 6*time.Second).Should(ContainElement(HavePrefix("Programmed=False/ApplyFailed")))
	writes := s.requestsSince(mark, writesToCalico)
	s.Expect(len(writes)).To(BeNumerically("<=", 3*2), "%v", writes)

	for _, object := range meddler {
		s.deleteObject(object)
	}
	s.Eventually(func() []string { return a.listItems(s) }).Should(ConsistOf(before))
	s.waitForConditions(s.name, programmed, "Drifted=False/NoDrift", "Ready=True/AsDeclared")
	s.removePolicy(s.name)
}

// createAdmissionPolicy creates an admission policy that changes an object at each write.
func (s *story) createAdmissionPolicy(a adding, expression string) []client.Object {
	s.t.Helper()
	object := func(kind string, spec map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
		o.SetAPIVersion("admissionregistration.k8s.io/v1")
		o.SetKind(kind)
		o.SetName(s.name)
		return o
	}
	resource := strings.ToLower(a.kind) + "s"
	policy := object("MutatingAdmissionPolicy", map[string]any{
		"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
			"apiGroups": []any{"projectcalico.org"}, "apiVersions": []any{"v3"}, "operations": []any{"CREATE", "UPDATE"}, "resources": []any{resource},
		}}},
		"matchConditions":    []any{map[string]any{"name": "one", "expression": fmt.Sprintf("object.metadata.name == %q", a.name)}},
		"failurePolicy":      "Ignore",
		"reinvocationPolicy": "Never",
		"mutations": []any{map[string]any{
			"patchType": "ApplyConfiguration", "applyConfiguration": map[string]any{"expression": expression},
		}},
	})
	binding := object("MutatingAdmissionPolicyBinding", map[string]any{"policyName": s.name})
	created := []client.Object{policy, binding}
	s.createObjects(created...)
	s.t.Cleanup(func() {
		for _, o := range created {
			s.Expect(client.IgnoreNotFound(admin.Delete(context.Background(), o))).To(Succeed())
		}
	})
	return created
}

// refusesAsLaterVersions: the installed CRDs check objects as later versions do, and every
// story shows rendered objects to pass.
func refusesAsLaterVersions(t *testing.T) {
	s := beginStory(t)
	refused := func(object client.Object, says string) {
		s.t.Helper()
		s.Expect(admin.Create(s.ctx, object)).To(MatchError(ContainSubstring(says)))
	}
	set := &v3.GlobalNetworkSet{ObjectMeta: metaNamed("x"), Spec: v3.GlobalNetworkSetSpec{Nets: []string{"10.0.0.1/32", "10.0.0.1/32"}}}
	refused(set, "Duplicate value")
	endpoint := &v3.HostEndpoint{ObjectMeta: metaNamed("x"), Spec: v3.HostEndpointSpec{Node: "x"}}
	refused(endpoint, "at least one of interfaceName or expectedIPs")
	endpoint = &v3.HostEndpoint{ObjectMeta: metaNamed("x"), Spec: v3.HostEndpointSpec{InterfaceName: "*"}}
	refused(endpoint, "node must be specified")
	policy := &v3.GlobalNetworkPolicy{ObjectMeta: metaNamed("x")}
	policy.Spec.Ingress = slices.Repeat([]v3.Rule{{Action: v3.Allow}}, 1025)
	refused(policy, "1024")
	policy = &v3.GlobalNetworkPolicy{ObjectMeta: metaNamed("x")}
	policy.Spec.Ingress = []v3.Rule{{Action: v3.Allow, Source: v3.EntityRule{Nets: slices.Repeat([]string{"10.0.0.1/32"}, 2)}}}
	refused(policy, "Duplicate value")
	pass := v3.Pass
	s.Expect(admin.Patch(s.ctx, &v3.Tier{ObjectMeta: metaNamed("default")}, client.RawPatch("application/merge-patch+json",
		[]byte(`{"spec":{"defaultAction":"`+string(pass)+`"}}`)))).To(MatchError(ContainSubstring("must have default action 'Deny'")))
}
