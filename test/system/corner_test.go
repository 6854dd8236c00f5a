// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// corner is a part of the cluster for one random sequence: two namespaces, up to three
// nodes, three Services, and up to two policies for these objects only.
type corner struct {
	admin  client.WithWatch
	number int
	name   string
	twin   string
	random *rand.Rand
	steps  []string

	// specs are the last specs, by policy; nil for a deleted policy.
	specs map[string]*v1alpha1.ControlPlaneNetworkPolicySpec
	ends  ending
	// gave are the values that foreign managers gave to claimed fields.
	gave map[string]map[string]bool
	// theirs are the foreign taints on each node that no policy claims.
	theirs map[string]map[string]bool
}

// ending is the way in which a sequence ends.
type ending string

const (
	endsEnforced ending = "enforced"
	endsAudited  ending = "audited"
	endsDeleted  ending = "deleted"
)

func newCorner(admin client.WithWatch, number int, random *rand.Rand) *corner {
	c := &corner{
		admin: admin, number: number, name: fmt.Sprintf("p%03d", number), twin: fmt.Sprintf("q%03d", number), random: random,
		specs: map[string]*v1alpha1.ControlPlaneNetworkPolicySpec{}, ends: endsEnforced,
		gave: map[string]map[string]bool{}, theirs: map[string]map[string]bool{},
	}
	switch random.IntN(10) {
	case 0:
		c.ends = endsAudited
	case 1:
		c.ends = endsDeleted
	}
	return c
}

// String lists the steps.
func (c *corner) String() string { return strings.Join(c.steps, "\n") }

func (c *corner) noteStep(format string, args ...any) {
	c.steps = append(c.steps, fmt.Sprintf("%s %2d: ", c.name, len(c.steps))+fmt.Sprintf(format, args...))
}

func (c *corner) pickOne(of ...string) string { return of[c.random.IntN(len(of))] }
func (c *corner) happensIn(percent int) bool  { return c.random.IntN(100) < percent }

// mainPolicy and rivalPolicy are the names of the policies. The rival is created later and,
// of two policies of the same age, comes second.
func (c *corner) mainPolicy() string                 { return c.name }
func (c *corner) rivalPolicy() string                { return c.name + "-z" }
func (c *corner) nodeName(n int) string              { return fmt.Sprintf("%s-%d", c.name, n) }
func (c *corner) namespaceName(suffix string) string { return c.name + "-" + suffix }

var services = map[string]string{"web": "a", "public": "a", "other": "b"}

func (c *corner) serviceKey(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: c.namespaceName(services[name]), Name: name}
}

// noteForeign notes that a foreign manager gave a value to a field.
func (c *corner) noteForeign(object, field, value string) {
	key := object + " " + field
	if c.gave[key] == nil {
		c.gave[key] = map[string]bool{}
	}
	c.gave[key][value] = true
}

// createCorner creates the corner and its first policy.
func (c *corner) createCorner(ctx context.Context) error {
	for _, suffix := range []string{"a", "b"} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespaceName(suffix), Labels: map[string]string{"zone": "x"}}}
		if err := c.admin.Create(ctx, namespace); err != nil {
			return err
		}
	}
	for n := 1; n <= 2; n++ {
		if err := c.addNode(ctx, n); err != nil {
			return err
		}
	}
	for name := range services {
		if err := c.addService(ctx, name); err != nil {
			return err
		}
	}
	c.specs[c.mainPolicy()] = c.randomSpec(c.mainPolicy())
	return c.applySpec(ctx, c.mainPolicy())
}

func (c *corner) addNode(ctx context.Context, n int) error {
	c.theirs[c.nodeName(n)] = map[string]bool{}
	role := map[int]string{1: "cp", 2: "cp", 3: "worker"}[n]
	address := fmt.Sprintf("10.%d.%d.%d", 100+c.number/250, c.number%250, n)
	return testbed.CreateNode(ctx, c.admin, testbed.Node(c.nodeName(n), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
		testbed.NodeLabels(map[string]string{"story": "everysequenceendsasdeclared", "corner": c.name, "role": role}), testbed.InternalIP(address)))
}

func (c *corner) addService(ctx context.Context, name string) error {
	kind := corev1.ServiceTypeClusterIP
	if name == "public" {
		kind = corev1.ServiceTypeLoadBalancer
	}
	service := testbed.Service(c.serviceKey(name).Namespace, name, kind, testbed.ServiceLabels(map[string]string{"corner": c.name, "tier": "front"}))
	if err := c.admin.Create(ctx, service, client.FieldOwner("owner")); err != nil || name != "public" {
		return err
	}
	slice := testbed.EndpointSlice(service, testbed.Endpoint(c.nodeName(1), "10.200.0.1", true))
	return client.IgnoreAlreadyExists(c.admin.Create(ctx, slice))
}

// applySpec applies the corner's spec to the policy, or deletes the policy.
func (c *corner) applySpec(ctx context.Context, name string) error {
	spec := c.specs[name]
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if spec == nil {
		return client.IgnoreNotFound(c.admin.Delete(ctx, policy))
	}
	return retryConflicts(func() error {
		err := c.admin.Get(ctx, client.ObjectKeyFromObject(policy), policy)
		if apierrors.IsNotFound(err) {
			policy.ResourceVersion, policy.Spec = "", *spec.DeepCopy()
			return c.admin.Create(ctx, policy)
		}
		if err != nil || policy.DeletionTimestamp != nil {
			return err // in the latter case the spec is applied at the end
		}
		policy.Spec = *spec.DeepCopy()
		return c.admin.Update(ctx, policy)
	})
}

// retryConflicts repeats a write after a conflict, for a while.
func retryConflicts(do func() error) error {
	var last error
	err := pollUntil(context.Background(), func() (bool, error) {
		last = do()
		if apierrors.IsConflict(last) || apierrors.IsAlreadyExists(last) {
			return false, nil
		}
		return true, last
	})
	return errors.Join(err, last)
}

// absent is the value of a missing field.
const absent = "(none)"

// takeStep makes the next random change.
func (c *corner) takeStep(ctx context.Context) error {
	type kind struct {
		weight int
		do     func(context.Context) error
	}
	kinds := []kind{
		{25, c.changeSpec}, {14, c.changeTaints}, {12, c.changeService}, {8, c.declareService},
		{14, c.changeNetworkPolicy}, {8, c.changeLabels}, {8, c.changeNodes}, {5, c.changeServices},
		{4, c.deletePolicy}, {3, c.changeStatus}, {15, c.waitBriefly},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	pick := c.random.IntN(total)
	for _, k := range kinds {
		if pick -= k.weight; pick < 0 {
			return k.do(ctx)
		}
	}
	return nil
}

// waitBriefly waits a moment for a running operator, so that some changes come one after
// the other.
func (c *corner) waitBriefly(ctx context.Context) error {
	c.noteStep("settle")
	_ = wait.PollUntilContextTimeout(ctx, 2*tick, 600*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		if err := c.admin.Get(ctx, client.ObjectKey{Name: c.mainPolicy()}, policy); err != nil {
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		}
		ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.ObservedGeneration == policy.Generation && ready.Status == metav1.ConditionTrue, nil
	})
	return nil
}

// changeSpec changes one part of a policy's spec, or creates the policy again.
func (c *corner) changeSpec(ctx context.Context) error {
	name := c.mainPolicy()
	if c.happensIn(25) {
		name = c.rivalPolicy()
	}
	old := c.specs[name]
	next := c.randomSpec(name)
	if old != nil {
		changed := old.DeepCopy()
		switch c.random.IntN(6) {
		case 0:
			changed.Mode, changed.Suspend = next.Mode, next.Suspend
		case 1:
			changed.NodeSelector = next.NodeSelector
		case 2:
			changed.Taints = next.Taints
		case 3:
			changed.Services = next.Services
		case 4:
			changed.Network = next.Network
		default:
			changed = next
		}
		if changed.Network != nil || len(changed.Taints) > 0 || len(changed.Services) > 0 {
			next = changed
		}
	}
	c.specs[name] = next
	c.noteStep("spec of %s is %s", name, withCommonName(next, c.name))
	return c.applySpec(ctx, name)
}

func (c *corner) deletePolicy(ctx context.Context) error {
	name := c.mainPolicy()
	if c.happensIn(50) {
		name = c.rivalPolicy()
	}
	c.specs[name] = nil
	c.noteStep("delete policy %s", name)
	return c.applySpec(ctx, name)
}

// changeTaints changes a claimed taint or a foreign taint as a foreign manager, either with
// care for other taints or without.
func (c *corner) changeTaints(ctx context.Context) error {
	node, key := c.nodeName(1+c.random.IntN(3)), c.random.IntN(len(taints))
	value, own := c.pickOne(absent, "", "x1", "x2"), fmt.Sprintf("theirs/%d", c.random.IntN(3))
	field := taints[key].Key + ":" + string(taints[key].Effect)
	careful, manager := c.happensIn(60), c.pickOne("mallory", "eve")
	c.noteStep("taints of %s: %s is %q, %s is there; careful: %v", node, field, value, own, careful)
	var list []corev1.Taint
	change := func(before []corev1.Taint) []corev1.Taint {
		after := []corev1.Taint{{Key: own, Effect: corev1.TaintEffectPreferNoSchedule}}
		for _, taint := range before {
			if taint.Key != own && (taint.Key != taints[key].Key || taint.Effect != taints[key].Effect) {
				after = append(after, taint)
			}
		}
		if value != absent {
			after = append(after, corev1.Taint{Key: taints[key].Key, Value: value, Effect: taints[key].Effect})
		}
		return after
	}
	write := func() error {
		object := &corev1.Node{}
		if err := c.admin.Get(ctx, client.ObjectKey{Name: node}, object); err != nil {
			return err
		}
		list = change(object.Spec.Taints)
		object.Spec.Taints = list
		return c.admin.Update(ctx, object, client.FieldOwner(manager))
	}
	if !careful {
		list = change(nil)
		write = func() error {
			return c.patchAs(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, manager, map[string]any{"spec": map[string]any{"taints": list}})
		}
	}
	if err := retryConflicts(write); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !careful {
		c.theirs[node] = map[string]bool{}
		for _, t := range taints {
			c.noteForeign("Node/"+node, t.Key+":"+string(t.Effect), absent)
		}
	}
	c.theirs[node][own] = true
	c.noteForeign("Node/"+node, field, value)
	return nil
}

func (c *corner) patchAs(ctx context.Context, object client.Object, manager string, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return c.admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, body), client.FieldOwner(manager))
}

// randomField returns a field of Services with a value for a foreign manager.
func (c *corner) randomField() (randomField, value string) {
	switch c.random.IntN(3) {
	case 0:
		return "internalTrafficPolicy", c.pickOne("Cluster", "Local")
	case 1:
		return "trafficDistribution", "PreferSameZone"
	default:
		return "externalTrafficPolicy", c.pickOne("Cluster", "Local")
	}
}

// changeService sets a field as a foreign manager.
func (c *corner) changeService(ctx context.Context) error {
	name, manager := c.pickOne("web", "public", "public", "other"), c.pickOne("mallory", "eve")
	field, value := c.randomField()
	c.noteStep("%s sets %s of %s to %s", manager, field, name, value)
	err := c.patchAs(ctx, c.emptyService(name), manager, map[string]any{"spec": map[string]any{field: value}})
	if err == nil {
		c.noteForeign("Service/"+name, field, value)
	}
	return ignoreRefused(err)
}

// declareService declares fields with server-side apply as a foreign manager, or releases
// such fields.
func (c *corner) declareService(ctx context.Context) error {
	name, fields := c.pickOne("web", "public", "other"), map[string]any{}
	for range c.random.IntN(3) {
		field, value := c.randomField()
		fields[field] = value
	}
	c.noteStep("gitops declares of %s %v", name, fields)
	err := c.declareFields(ctx, c.serviceKey(name), fields)
	if err == nil {
		for field, value := range fields {
			c.noteForeign("Service/"+name, field, fmt.Sprint(value))
		}
	}
	return ignoreRefused(err)
}

// declareFields applies fields of an existing Service.
func (c *corner) declareFields(ctx context.Context, key client.ObjectKey, fields map[string]any) error {
	service := &corev1.Service{}
	if err := c.admin.Get(ctx, key, service); err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": fields}}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	object.SetUID(service.UID)
	return c.admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("gitops"), client.ForceOwnership)
}

// emptyService returns a Service with only a name.
func (c *corner) emptyService(name string) *corev1.Service {
	key := c.serviceKey(name)
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
}

// ignoreRefused ignores errors of a missing Service, and of a Service without the field.
func ignoreRefused(err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// changeNetworkPolicy changes or deletes a managed NetworkPolicy.
func (c *corner) changeNetworkPolicy(ctx context.Context) error {
	object := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: c.namespaceName(c.pickOne("a", "b")), Name: "cpnp." + c.pickOne(c.mainPolicy(), c.mainPolicy(), c.rivalPolicy()) + "." + c.pickOne(components...),
	}}
	if c.happensIn(30) {
		c.noteStep("delete NetworkPolicy %s/%s", object.Namespace, object.Name)
		return client.IgnoreNotFound(c.admin.Delete(ctx, object))
	}
	body := c.pickOne(
		`{"spec":{"ingress":[{}]}}`,
		`{"spec":{"egress":[{}],"policyTypes":["Ingress","Egress"]}}`,
		`{"spec":{"podSelector":null}}`,
		`{"metadata":{"labels":{"cpnp.dev/policy":null}}}`,
		`{"metadata":{"labels":{"cpnp.dev/component":"another","theirs":"stays"}}}`,
		`{"metadata":{"annotations":{"cpnp.dev/desired-hash":"0"}}}`,
		`{"metadata":{"annotations":null}}`,
	)
	c.noteStep("NetworkPolicy %s/%s gets %s", object.Namespace, object.Name, body)
	return client.IgnoreNotFound(c.admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner(c.pickOne("mallory", "eve"))))
}

// changeLabels moves a node, a Service or a namespace in or out of selectors.
func (c *corner) changeLabels(ctx context.Context) error {
	var object client.Object
	var labels map[string]any
	switch c.random.IntN(3) {
	case 0:
		object, labels = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.nodeName(1 + c.random.IntN(3))}}, map[string]any{"role": c.pickOne("cp", "worker")}
	case 1:
		object, labels = c.emptyService(c.pickOne("web", "public", "other")), map[string]any{"tier": c.pickOne("front", "back")}
	default:
		object = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespaceName(c.pickOne("a", "b"))}}
		labels = map[string]any{"zone": c.pickOne("x", "y")}
	}
	c.noteStep("labels of %T %s are %v", object, object.GetName(), labels)
	return client.IgnoreNotFound(c.patchAs(ctx, object, "owner", map[string]any{"metadata": map[string]any{"labels": labels}}))
}

// changeNodes makes a node join, leave or change its address.
func (c *corner) changeNodes(ctx context.Context) error {
	n := 2 + c.random.IntN(2)
	if c.happensIn(50) {
		address := fmt.Sprintf("10.99.%d.%d", c.number%250, c.random.IntN(200))
		c.noteStep("address of %s is %s", c.nodeName(n), address)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.nodeName(n)}}
		body := fmt.Sprintf(`{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, address)
		return client.IgnoreNotFound(c.admin.Status().Patch(ctx, node, client.RawPatch(types.MergePatchType, []byte(body))))
	}
	if err := c.admin.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.nodeName(n)}}); !apierrors.IsNotFound(err) {
		c.noteStep("%s leaves", c.nodeName(n))
		return err
	}
	c.noteStep("%s joins", c.nodeName(n))
	return c.addNode(ctx, n)
}

// changeServices creates or deletes a Service, changes its type, or removes its endpoint.
func (c *corner) changeServices(ctx context.Context) error {
	switch c.random.IntN(3) {
	case 0:
		ready := c.happensIn(50)
		c.noteStep("endpoint of public is ready: %v", ready)
		return c.setEndpoint(ctx, ready)
	case 1:
		kind := c.pickOne("ClusterIP", "NodePort", "LoadBalancer")
		c.noteStep("type of public is %s", kind)
		return ignoreRefused(c.patchAs(ctx, c.emptyService("public"), "owner", map[string]any{"spec": map[string]any{"type": kind}}))
	default:
		name := c.pickOne("web", "public", "other")
		if err := c.admin.Delete(ctx, c.emptyService(name)); !apierrors.IsNotFound(err) {
			c.noteStep("Service %s goes", name)
			return err
		}
		c.noteStep("Service %s comes", name)
		return c.addService(ctx, name)
	}
}

func (c *corner) setEndpoint(ctx context.Context, ready bool) error {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespaceName("a"), Name: "public"}}
	return c.patchAs(ctx, slice, "owner", map[string]any{"endpoints": []any{testbed.Endpoint(c.nodeName(1), "10.200.0.1", ready)}})
}

// changeStatus writes a false status as a foreign manager. A policy without Verified would
// not be written any more.
func (c *corner) changeStatus(ctx context.Context) error {
	c.noteStep("mallory edits the status")
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: c.mainPolicy()}}
	body := `{"status":{"conditions":[],"driftedObjects":7}}`
	return client.IgnoreNotFound(c.admin.Status().Patch(ctx, policy, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner("mallory")))
}
