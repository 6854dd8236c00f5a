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

// corner is a part of the cluster in which a random sequence happens: two
// namespaces, up to three nodes, three Services, and up to two policies that
// concern nothing else.
type corner struct {
	number int
	name   string
	twin   string
	random *rand.Rand
	steps  []string

	// specs are the last specs, by policy; nil where it is to be deleted.
	specs map[string]*v1alpha1.ControlPlaneNetworkPolicySpec
	ends  ending
	// gave are the values that others gave to the fields that policies claim.
	gave map[string]map[string]bool
	// theirs are the taints of others on each node that no policy claims.
	theirs map[string]map[string]bool
}

// ending is how a sequence ends.
type ending string

const (
	endsEnforced ending = "enforced"
	endsAudited  ending = "audited"
	endsDeleted  ending = "deleted"
)

func newCorner(number int, random *rand.Rand) *corner {
	c := &corner{
		number: number, name: fmt.Sprintf("p%03d", number), twin: fmt.Sprintf("q%03d", number), random: random,
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

// String lists what happened.
func (c *corner) String() string { return strings.Join(c.steps, "\n") }

func (c *corner) note(format string, args ...any) {
	c.steps = append(c.steps, fmt.Sprintf("%s %2d: ", c.name, len(c.steps))+fmt.Sprintf(format, args...))
}

func (c *corner) one(of ...string) string { return of[c.random.IntN(len(of))] }
func (c *corner) chance(percent int) bool { return c.random.IntN(100) < percent }

// main and rival are the names of the policies. The rival comes later and, of two
// as old as each other, second.
func (c *corner) main() string                   { return c.name }
func (c *corner) rival() string                  { return c.name + "-z" }
func (c *corner) node(n int) string              { return fmt.Sprintf("%s-%d", c.name, n) }
func (c *corner) namespace(suffix string) string { return c.name + "-" + suffix }

var services = map[string]string{"web": "a", "public": "a", "other": "b"}

func (c *corner) service(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: c.namespace(services[name]), Name: name}
}

// given notes that others gave a field a value.
func (c *corner) given(object, field, value string) {
	key := object + " " + field
	if c.gave[key] == nil {
		c.gave[key] = map[string]bool{}
	}
	c.gave[key][value] = true
}

// begin creates the corner and its first policy.
func (c *corner) begin(ctx context.Context) error {
	for _, suffix := range []string{"a", "b"} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace(suffix), Labels: map[string]string{"zone": "x"}}}
		if err := admin.Create(ctx, namespace); err != nil {
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
	c.specs[c.main()] = c.spec(c.main())
	return c.applySpec(ctx, c.main())
}

func (c *corner) addNode(ctx context.Context, n int) error {
	c.theirs[c.node(n)] = map[string]bool{}
	role := map[int]string{1: "cp", 2: "cp", 3: "worker"}[n]
	address := fmt.Sprintf("10.%d.%d.%d", 100+c.number/250, c.number%250, n)
	return testbed.CreateNode(ctx, admin, testbed.Node(c.node(n), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
		testbed.NodeLabels(map[string]string{"story": "everysequenceendsasdeclared", "corner": c.name, "role": role}), testbed.InternalIP(address)))
}

func (c *corner) addService(ctx context.Context, name string) error {
	kind := corev1.ServiceTypeClusterIP
	if name == "public" {
		kind = corev1.ServiceTypeLoadBalancer
	}
	service := testbed.Service(c.service(name).Namespace, name, kind, testbed.ServiceLabels(map[string]string{"corner": c.name, "tier": "front"}))
	if err := admin.Create(ctx, service, client.FieldOwner("owner")); err != nil || name != "public" {
		return err
	}
	slice := testbed.EndpointSlice(service, testbed.Endpoint(c.node(1), "10.200.0.1", true))
	return client.IgnoreAlreadyExists(admin.Create(ctx, slice))
}

// applySpec makes the policy's spec what the corner says, or deletes the policy.
func (c *corner) applySpec(ctx context.Context, name string) error {
	spec := c.specs[name]
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if spec == nil {
		return client.IgnoreNotFound(admin.Delete(ctx, policy))
	}
	return tolerantly(func() error {
		err := admin.Get(ctx, client.ObjectKeyFromObject(policy), policy)
		if apierrors.IsNotFound(err) {
			policy.ResourceVersion, policy.Spec = "", *spec.DeepCopy()
			return admin.Create(ctx, policy)
		}
		if err != nil || policy.DeletionTimestamp != nil {
			return err // in the latter case the spec comes at the end
		}
		policy.Spec = *spec.DeepCopy()
		return admin.Update(ctx, policy)
	})
}

// tolerantly repeats what lost a race, for a while.
func tolerantly(do func() error) error {
	var last error
	err := poll(context.Background(), func() (bool, error) {
		last = do()
		if apierrors.IsConflict(last) || apierrors.IsAlreadyExists(last) {
			return false, nil
		}
		return true, last
	})
	return errors.Join(err, last)
}

// absent is the value of what is not there.
const absent = "(none)"

// step does the next thing.
func (c *corner) step(ctx context.Context) error {
	type kind struct {
		weight int
		do     func(context.Context) error
	}
	kinds := []kind{
		{25, c.changeSpec}, {14, c.changeTaints}, {12, c.changeService}, {8, c.declareService},
		{14, c.changeNetworkPolicy}, {8, c.changeLabels}, {8, c.changeNodes}, {5, c.changeServices},
		{4, c.deletePolicy}, {3, c.changeStatus}, {15, c.settle},
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

// settle waits a moment for the operator, if one runs, so that not everything
// comes at once.
func (c *corner) settle(ctx context.Context) error {
	c.note("settle")
	_ = wait.PollUntilContextTimeout(ctx, 5*tick, 600*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		if err := admin.Get(ctx, client.ObjectKey{Name: c.main()}, policy); err != nil {
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		}
		ready := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.ObservedGeneration == policy.Generation && ready.Status == metav1.ConditionTrue, nil
	})
	return nil
}

// changeSpec changes one part of a policy's spec, or brings it back.
func (c *corner) changeSpec(ctx context.Context) error {
	name := c.main()
	if c.chance(25) {
		name = c.rival()
	}
	old := c.specs[name]
	next := c.spec(name)
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
	c.note("spec of %s is %s", name, named(next, c.name))
	return c.applySpec(ctx, name)
}

func (c *corner) deletePolicy(ctx context.Context) error {
	name := c.main()
	if c.chance(50) {
		name = c.rival()
	}
	c.specs[name] = nil
	c.note("delete policy %s", name)
	return c.applySpec(ctx, name)
}

// changeTaints has somebody change a taint that policies claim, or one of their
// own, with care for the others' or without.
func (c *corner) changeTaints(ctx context.Context) error {
	node, key := c.node(1+c.random.IntN(3)), c.random.IntN(len(taints))
	value, own := c.one(absent, "", "x1", "x2"), fmt.Sprintf("theirs/%d", c.random.IntN(3))
	field := taints[key].Key + ":" + string(taints[key].Effect)
	careful, manager := c.chance(60), c.one("mallory", "eve")
	c.note("taints of %s: %s is %q, %s is there; careful: %v", node, field, value, own, careful)
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
		if err := admin.Get(ctx, client.ObjectKey{Name: node}, object); err != nil {
			return err
		}
		list = change(object.Spec.Taints)
		object.Spec.Taints = list
		return admin.Update(ctx, object, client.FieldOwner(manager))
	}
	if !careful {
		list = change(nil)
		write = func() error {
			return patchAs(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, manager, map[string]any{"spec": map[string]any{"taints": list}})
		}
	}
	if err := tolerantly(write); err != nil {
		return client.IgnoreNotFound(err)
	}
	if !careful {
		c.theirs[node] = map[string]bool{}
		for _, t := range taints {
			c.given("Node/"+node, t.Key+":"+string(t.Effect), absent)
		}
	}
	c.theirs[node][own] = true
	c.given("Node/"+node, field, value)
	return nil
}

func patchAs(ctx context.Context, object client.Object, manager string, patch map[string]any) error {
	body, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	return admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, body), client.FieldOwner(manager))
}

// field returns a field of Services with a value that somebody may give it.
func (c *corner) field() (field, value string) {
	switch c.random.IntN(3) {
	case 0:
		return "internalTrafficPolicy", c.one("Cluster", "Local")
	case 1:
		return "trafficDistribution", "PreferSameZone"
	default:
		return "externalTrafficPolicy", c.one("Cluster", "Local")
	}
}

// changeService has somebody set a field.
func (c *corner) changeService(ctx context.Context) error {
	name, manager := c.one("web", "public", "public", "other"), c.one("mallory", "eve")
	field, value := c.field()
	c.note("%s sets %s of %s to %s", manager, field, name, value)
	err := patchAs(ctx, c.bare(name), manager, map[string]any{"spec": map[string]any{field: value}})
	if err == nil {
		c.given("Service/"+name, field, value)
	}
	return ignoreRefused(err)
}

// declareService has somebody declare fields with server-side apply, or let go of
// them.
func (c *corner) declareService(ctx context.Context) error {
	name, fields := c.one("web", "public", "other"), map[string]any{}
	for range c.random.IntN(3) {
		field, value := c.field()
		fields[field] = value
	}
	c.note("gitops declares of %s %v", name, fields)
	err := declare(ctx, c.service(name), fields)
	if err == nil {
		for field, value := range fields {
			c.given("Service/"+name, field, fmt.Sprint(value))
		}
	}
	return ignoreRefused(err)
}

// declare applies fields of a Service that is there.
func declare(ctx context.Context, key client.ObjectKey, fields map[string]any) error {
	service := &corev1.Service{}
	if err := admin.Get(ctx, key, service); err != nil {
		return err
	}
	object := &unstructured.Unstructured{Object: map[string]any{"spec": fields}}
	object.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Service"))
	object.SetNamespace(key.Namespace)
	object.SetName(key.Name)
	object.SetUID(service.UID)
	return admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("gitops"), client.ForceOwnership)
}

// bare returns a Service without content.
func (c *corner) bare(name string) *corev1.Service {
	key := c.service(name)
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
}

// ignoreRefused: a Service that is not there, or can not have the field.
func ignoreRefused(err error) error {
	if apierrors.IsInvalid(err) || apierrors.IsConflict(err) {
		return nil
	}
	return client.IgnoreNotFound(err)
}

// changeNetworkPolicy has somebody change or delete one of the operator's.
func (c *corner) changeNetworkPolicy(ctx context.Context) error {
	object := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{
		Namespace: c.namespace(c.one("a", "b")), Name: "cpnp." + c.one(c.main(), c.main(), c.rival()) + "." + c.one(components...),
	}}
	if c.chance(30) {
		c.note("delete NetworkPolicy %s/%s", object.Namespace, object.Name)
		return client.IgnoreNotFound(admin.Delete(ctx, object))
	}
	body := c.one(
		`{"spec":{"ingress":[{}]}}`,
		`{"spec":{"egress":[{}],"policyTypes":["Ingress","Egress"]}}`,
		`{"spec":{"podSelector":null}}`,
		`{"metadata":{"labels":{"cpnp.dev/policy":null}}}`,
		`{"metadata":{"labels":{"cpnp.dev/component":"another","theirs":"stays"}}}`,
		`{"metadata":{"annotations":{"cpnp.dev/desired-hash":"0"}}}`,
		`{"metadata":{"annotations":null}}`,
	)
	c.note("NetworkPolicy %s/%s gets %s", object.Namespace, object.Name, body)
	return client.IgnoreNotFound(admin.Patch(ctx, object, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner(c.one("mallory", "eve"))))
}

// changeLabels moves a node, a Service or a namespace in or out of selectors.
func (c *corner) changeLabels(ctx context.Context) error {
	var object client.Object
	var labels map[string]any
	switch c.random.IntN(3) {
	case 0:
		object, labels = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.node(1 + c.random.IntN(3))}}, map[string]any{"role": c.one("cp", "worker")}
	case 1:
		object, labels = c.bare(c.one("web", "public", "other")), map[string]any{"tier": c.one("front", "back")}
	default:
		object = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.namespace(c.one("a", "b"))}}
		labels = map[string]any{"zone": c.one("x", "y")}
	}
	c.note("labels of %T %s are %v", object, object.GetName(), labels)
	return client.IgnoreNotFound(patchAs(ctx, object, "owner", map[string]any{"metadata": map[string]any{"labels": labels}}))
}

// changeNodes has a node join, leave or change its address.
func (c *corner) changeNodes(ctx context.Context) error {
	n := 2 + c.random.IntN(2)
	if c.chance(50) {
		address := fmt.Sprintf("10.99.%d.%d", c.number%250, c.random.IntN(200))
		c.note("address of %s is %s", c.node(n), address)
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.node(n)}}
		body := fmt.Sprintf(`{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, address)
		return client.IgnoreNotFound(admin.Status().Patch(ctx, node, client.RawPatch(types.MergePatchType, []byte(body))))
	}
	if err := admin.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.node(n)}}); !apierrors.IsNotFound(err) {
		c.note("%s leaves", c.node(n))
		return err
	}
	c.note("%s joins", c.node(n))
	return c.addNode(ctx, n)
}

// changeServices has a Service come, go, change its type, or lose its endpoint.
func (c *corner) changeServices(ctx context.Context) error {
	switch c.random.IntN(3) {
	case 0:
		ready := c.chance(50)
		c.note("endpoint of public is ready: %v", ready)
		return c.endpoint(ctx, ready)
	case 1:
		kind := c.one("ClusterIP", "NodePort", "LoadBalancer")
		c.note("type of public is %s", kind)
		return ignoreRefused(patchAs(ctx, c.bare("public"), "owner", map[string]any{"spec": map[string]any{"type": kind}}))
	default:
		name := c.one("web", "public", "other")
		if err := admin.Delete(ctx, c.bare(name)); !apierrors.IsNotFound(err) {
			c.note("Service %s goes", name)
			return err
		}
		c.note("Service %s comes", name)
		return c.addService(ctx, name)
	}
}

func (c *corner) endpoint(ctx context.Context, ready bool) error {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace("a"), Name: "public"}}
	return patchAs(ctx, slice, "owner", map[string]any{"endpoints": []any{testbed.Endpoint(c.node(1), "10.200.0.1", ready)}})
}

// changeStatus has somebody say that a policy is not verified, which would stop
// all writing for it.
func (c *corner) changeStatus(ctx context.Context) error {
	c.note("somebody edits the status")
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: c.main()}}
	body := `{"status":{"conditions":[],"driftedObjects":7}}`
	return client.IgnoreNotFound(admin.Status().Patch(ctx, policy, client.RawPatch(types.MergePatchType, []byte(body)), client.FieldOwner("mallory")))
}
