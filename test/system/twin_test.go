// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// end brings the corner to its end: from there on, nothing happens to it. What
// would have the operator keep the last good state is set right before, since
// the twin has no such state: a policy must select a node, and the endpoint must
// be ready.
func (c *corner) end(ctx context.Context) error {
	if err := patchAs(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.node(1)}}, "owner",
		map[string]any{"metadata": map[string]any{"labels": map[string]any{"role": "cp"}}}); err != nil {
		return err
	}
	if err := c.endpoint(ctx, true); err != nil {
		return err
	}
	if c.specs[c.main()] == nil {
		c.specs[c.main()] = c.spec(c.main())
	}
	if c.ends == endsAudited {
		c.specs[c.rival()] = nil
	}
	for _, name := range []string{c.main(), c.rival()} {
		if spec := c.specs[name]; spec != nil {
			spec = spec.DeepCopy()
			spec.Mode, spec.Suspend, spec.DeletionPolicy = v1alpha1.ModeEnforce, false, v1alpha1.DeletionRevert
			spec.NodeSelector = c.selector("corner", c.name, "role", "cp")
			c.specs[name] = spec
		}
		c.note("ends: spec of %s is %s", name, named(c.specs[name], c.name))
		if err := c.apply(ctx, name); err != nil {
			return err
		}
	}
	switch c.ends {
	case endsAudited:
		return c.audit(ctx)
	case endsDeleted:
		return c.remove(ctx)
	}
	return nil
}

// apply is applySpec, after what is being deleted has gone.
func (c *corner) apply(ctx context.Context, name string) error {
	if err := poll(ctx, func() (bool, error) {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		err := admin.Get(ctx, client.ObjectKey{Name: name}, policy)
		return err != nil || policy.DeletionTimestamp == nil, client.IgnoreNotFound(err)
	}); err != nil {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		_ = admin.Get(ctx, client.ObjectKey{Name: name}, policy)
		return fmt.Errorf("waiting for the end of %s: %w; %s", name, err, named(policy.Status.Conditions, c.name))
	}
	return c.applySpec(ctx, name)
}

// poll asks until it is so, or takes too long.
func poll(ctx context.Context, so func() (bool, error)) error {
	return wait.PollUntilContextTimeout(ctx, 5*tick, patience, true, func(context.Context) (bool, error) { return so() })
}

// observed waits until the operator has reported on the main policy.
func (c *corner) observed(ctx context.Context) error {
	err := poll(ctx, func() (bool, error) {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		err := admin.Get(ctx, client.ObjectKey{Name: c.main()}, policy)
		verified := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionVerified)
		return err == nil && verified != nil && verified.ObservedGeneration == policy.Generation, err
	})
	if err != nil {
		return fmt.Errorf("waiting for a report on %s: %w", c.main(), err)
	}
	return nil
}

// audit has the operator stop writing, and then somebody change something.
func (c *corner) audit(ctx context.Context) error {
	c.note("ends: audit")
	c.specs[c.main()].Mode = v1alpha1.ModeAudit
	c.specs[c.main()].Taints = []v1alpha1.Taint{{Key: "cpnp.test/a", Value: "v1", Effect: corev1.TaintEffectNoSchedule}}
	if err := c.applySpec(ctx, c.main()); err != nil {
		return err
	}
	if err := c.observed(ctx); err != nil {
		return err
	}
	return patchAs(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.node(1)}}, "mallory",
		map[string]any{"spec": map[string]any{"taints": []corev1.Taint{{Key: "cpnp.test/a", Value: "audited", Effect: corev1.TaintEffectNoSchedule}}}})
}

// remove deletes the main policy once it enforces.
func (c *corner) remove(ctx context.Context) error {
	if err := c.observed(ctx); err != nil {
		return err
	}
	c.note("ends: delete %s", c.main())
	c.specs[c.main()] = nil
	return c.applySpec(ctx, c.main())
}

// makeTwin makes a corner that is in the state in which others left this one.
func (c *corner) makeTwin(ctx context.Context) error {
	if c.ends == endsAudited {
		return nil // the operator wrote before, and has left that as it was: there is no fresh way there
	}
	for _, suffix := range []string{"a", "b"} {
		namespace := &corev1.Namespace{}
		if err := admin.Get(ctx, client.ObjectKey{Name: c.namespace(suffix)}, namespace); err != nil {
			return err
		}
		twin := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.twin + "-" + suffix, Labels: map[string]string{"zone": namespace.Labels["zone"]}}}
		if err := admin.Create(ctx, twin); err != nil {
			return err
		}
	}
	policies, err := c.policies(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.copyNodes(ctx, policies), c.copyServices(ctx, policies))
}

// policies returns the corner's policies as the planner has them, oldest first.
func (c *corner) policies(ctx context.Context) ([]plan.Policy, error) {
	var policies []v1alpha1.ControlPlaneNetworkPolicy
	for _, name := range []string{c.main(), c.rival()} {
		policy := v1alpha1.ControlPlaneNetworkPolicy{}
		if err := admin.Get(ctx, client.ObjectKey{Name: name}, &policy); err == nil {
			policies = append(policies, policy)
		} else if !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	slices.SortStableFunc(policies, func(a, b v1alpha1.ControlPlaneNetworkPolicy) int {
		return a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
	})
	return plan.Compile(policies), nil
}

// The networks of a corner's nodes and of its twin's begin with these.
const (
	cornerNetwork = "10."
	twinNetwork   = "11."
)

// nodesOf returns the nodes of a corner or a twin.
func nodesOf(ctx context.Context, name string) ([]corev1.Node, error) {
	var nodes []corev1.Node
	for n := 1; n <= 3; n++ {
		node := corev1.Node{}
		if err := admin.Get(ctx, client.ObjectKey{Name: fmt.Sprintf("%s-%d", name, n)}, &node); err == nil {
			nodes = append(nodes, node)
		} else if !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return nodes, nil
}

func (c *corner) copyNodes(ctx context.Context, policies []plan.Policy) error {
	nodes, err := nodesOf(ctx, c.name)
	if err != nil {
		return err
	}
	for i := range nodes {
		node := &nodes[i]
		claims, _ := plan.TaintClaims(node, policies)
		twin := testbed.Node(c.twin+strings.TrimPrefix(node.Name, c.name), testbed.WithoutKwok(), testbed.NodeLabels(node.Labels))
		twin.Labels["corner"], twin.Labels[corev1.LabelHostname] = c.twin, twin.Name
		for _, address := range node.Status.Addresses { // what two nodes show is neither's
			address.Address = twinNetwork + strings.TrimPrefix(address.Address, cornerNetwork)
			twin.Status.Addresses = append(twin.Status.Addresses, address)
		}
		testbed.NodeReady(corev1.ConditionTrue)(twin)
		for _, taint := range node.Spec.Taints {
			if !strings.HasPrefix(taint.Key, "node.kubernetes.io/") && !claimed(claims, state.TaintField(taint.Key, taint.Effect)) {
				twin.Spec.Taints = append(twin.Spec.Taints, taint)
			}
		}
		if err := testbed.CreateNode(ctx, admin, twin); err != nil {
			return err
		}
	}
	return nil
}

func claimed(claims []plan.Claim, field string) bool {
	return slices.ContainsFunc(claims, func(c plan.Claim) bool { return c.Field == field })
}

var trafficFields = []string{plan.ExternalTrafficPolicy, plan.InternalTrafficPolicy, plan.TrafficDistribution}

// claimsOn returns what the policies claim of a Service.
func (c *corner) claimsOn(ctx context.Context, service *corev1.Service, policies []plan.Policy) ([]plan.Claim, error) {
	namespace := &corev1.Namespace{}
	if err := admin.Get(ctx, client.ObjectKey{Name: service.Namespace}, namespace); err != nil {
		return nil, err
	}
	claims, _ := plan.ServiceClaims(state.Service{Service: service, NamespaceLabels: namespace.Labels}, policies)
	return claims, nil
}

func (c *corner) copyServices(ctx context.Context, policies []plan.Policy) error {
	for name := range services {
		service := &corev1.Service{}
		if err := admin.Get(ctx, c.service(name), service); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		claims, err := c.claimsOn(ctx, service, policies)
		if err != nil {
			return err
		}
		twin := testbed.Service(c.twin+"-"+services[name], name, service.Spec.Type, testbed.ServiceLabels(map[string]string{"corner": c.twin, "tier": service.Labels["tier"]}))
		if !claimed(claims, plan.ExternalTrafficPolicy) {
			twin.Spec.ExternalTrafficPolicy = service.Spec.ExternalTrafficPolicy
		}
		if !claimed(claims, plan.InternalTrafficPolicy) {
			twin.Spec.InternalTrafficPolicy = service.Spec.InternalTrafficPolicy
		}
		if !claimed(claims, plan.TrafficDistribution) {
			twin.Spec.TrafficDistribution = service.Spec.TrafficDistribution
		}
		if err := admin.Create(ctx, twin, client.FieldOwner("owner")); err != nil {
			return err
		}
		declared := map[string]any{}
		for _, field := range trafficFields {
			if value := plan.TrafficPolicy(service, field); value != nil && applies(service, "gitops", field) {
				declared[field] = *value
			}
		}
		if len(declared) > 0 {
			if err := declare(ctx, client.ObjectKeyFromObject(twin), declared); err != nil {
				return err
			}
		}
		if name == "public" {
			slice := testbed.EndpointSlice(twin, testbed.Endpoint(c.twin+"-1", "10.200.0.1", true))
			if err := admin.Create(ctx, slice); err != nil {
				return err
			}
		}
	}
	return nil
}

// applies says whether the manager declares the field with server-side apply.
func applies(service *corev1.Service, manager, field string) bool {
	return slices.ContainsFunc(service.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		var set fieldpath.Set
		return entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.FieldsV1 != nil &&
			set.FromJSON(entry.FieldsV1.GetRawReader()) == nil && set.Has(fieldpath.MakePathOrDie("spec", field))
	})
}

// createPolicies gives the twin the policy that is the older one, or the other:
// the older one decides.
func (c *corner) createPolicies(ctx context.Context, older bool) error {
	if c.ends == endsAudited {
		return nil
	}
	policies, err := c.policies(ctx)
	if err != nil {
		return err
	}
	for i, policy := range policies {
		if older != (i == 0) {
			continue
		}
		twin := &v1alpha1.ControlPlaneNetworkPolicy{}
		body, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": policy.Name}, "spec": policy.Spec})
		if err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(body), c.name, c.twin)), twin); err != nil {
			return err
		}
		if err := admin.Create(ctx, twin); err != nil {
			return err
		}
	}
	return nil
}

// differs compares what the operator made of the corner and of its twin, and
// checks what can not be compared.
func (c *corner) differs(ctx context.Context) error {
	if c.ends == endsAudited {
		return c.unrepaired(ctx)
	}
	ours, err := posture(ctx, c.name)
	if err != nil {
		return err
	}
	fresh, err := posture(ctx, c.twin)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(fresh, ours); diff != "" {
		return fmt.Errorf("it is not as if just applied (-fresh +this):\n%s", diff)
	}
	return c.leftovers(ctx)
}

// unrepaired: a policy that only audits leaves what somebody changed.
func (c *corner) unrepaired(ctx context.Context) error {
	node := &corev1.Node{}
	if err := admin.Get(ctx, client.ObjectKey{Name: c.node(1)}, node); err != nil {
		return err
	}
	if value := plan.TaintValue(node, "cpnp.test/a:NoSchedule"); value == nil || *value != "audited" {
		return errors.New("Audit repaired a taint")
	}
	return nil
}

// leftovers finds what the operator wrote and no policy claims any more, and what
// it did to the taints of others.
func (c *corner) leftovers(ctx context.Context) error {
	policies, err := c.policies(ctx)
	if err != nil {
		return err
	}
	var failures []error
	nodes, err := nodesOf(ctx, c.name)
	if err != nil {
		return err
	}
	records, err := state.Observer{Cache: admin}.ListNodeRecords(ctx)
	if err != nil {
		return err
	}
	for i := range nodes {
		node := &nodes[i]
		claims, _ := plan.TaintClaims(node, policies)
		for _, taint := range taints {
			field := state.TaintField(taint.Key, taint.Effect)
			failures = append(failures, c.leftover("Node/"+node.Name, field, plan.TaintValue(node, field), claims, absent))
		}
		failures = append(failures, strays("Node/"+node.Name, records.OfNode(node).Record, claims))
		found := map[string]bool{}
		for _, taint := range node.Spec.Taints {
			if strings.HasPrefix(taint.Key, "theirs/") {
				found[taint.Key] = true
			}
		}
		if !maps.Equal(found, c.theirs[node.Name]) {
			failures = append(failures, fmt.Errorf("the taints of others on %s are %v instead of %v", node.Name, found, c.theirs[node.Name]))
		}
	}
	for name := range services {
		service := &corev1.Service{}
		if err := admin.Get(ctx, c.service(name), service); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		claims, err := c.claimsOn(ctx, service, policies)
		if err != nil {
			return err
		}
		for _, field := range trafficFields {
			failures = append(failures, c.leftover("Service/"+name, field, plan.TrafficPolicy(service, field), claims, absent, "Cluster"))
		}
		record, err := state.ServiceRecord(service.Annotations)
		failures = append(failures, err, strays("Service/"+name, record, claims))
	}
	return errors.Join(failures...)
}

// leftover checks a field that nobody claims: it must have a value that others
// gave it, or the one that it has by itself.
func (c *corner) leftover(object, field string, value *string, claims []plan.Claim, itself ...string) error {
	is := absent
	if value != nil {
		is = *value
	}
	if claimed(claims, field) || slices.Contains(itself, is) || c.gave[object+" "+field][is] {
		return nil
	}
	return fmt.Errorf("%s %s is %q, which nobody declares or wrote but the operator", object, field, is)
}

// strays finds entries of the record for what is not claimed.
func strays(object string, record state.Record, claims []plan.Claim) error {
	for field, entry := range record {
		if !claimed(claims, field) {
			return fmt.Errorf("%s has a record of %s for policy %s, which does not claim it", object, field, entry.Policy)
		}
	}
	return nil
}

// posture returns what the operator made of a corner, as lines.
func posture(ctx context.Context, name string) ([]string, error) {
	shown := map[string]any{}
	var errs []error
	for _, add := range []func(context.Context, string, map[string]any) error{showNetworkPolicies, showNodes, showServices, showPolicies} {
		errs = append(errs, add(ctx, name, shown))
	}
	var lines []string
	for _, object := range slices.Sorted(maps.Keys(shown)) {
		text, err := json.MarshalIndent(shown[object], "", "  ")
		errs = append(errs, err)
		same := strings.NewReplacer(name, "corner", `"`+twinNetwork, `"`+cornerNetwork).Replace(object + " " + string(text))
		lines = append(lines, strings.Split(same, "\n")...)
	}
	return lines, errors.Join(errs...)
}

func showNetworkPolicies(ctx context.Context, name string, shown map[string]any) error {
	for _, suffix := range []string{"-a", "-b"} {
		var list networkingv1.NetworkPolicyList
		if err := admin.List(ctx, &list, client.InNamespace(name+suffix)); err != nil {
			return err
		}
		for _, policy := range list.Items {
			shown["NetworkPolicy/"+policy.Namespace+"/"+policy.Name] = []any{
				policy.Labels[v1alpha1.LabelPolicy], policy.Labels[v1alpha1.LabelComponent],
				policy.Annotations[v1alpha1.AnnotationRendererVersion], len(policy.Annotations[v1alpha1.AnnotationDesiredHash]), policy.Spec,
			}
		}
	}
	return nil
}

func showNodes(ctx context.Context, name string, shown map[string]any) error {
	nodes, err := nodesOf(ctx, name)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		var taints []string
		for _, taint := range node.Spec.Taints {
			if !strings.HasPrefix(taint.Key, "node.kubernetes.io/") {
				taints = append(taints, taint.ToString())
			}
		}
		slices.Sort(taints)
		shown["Node/"+node.Name] = taints
	}
	return nil
}

func showServices(ctx context.Context, name string, shown map[string]any) error {
	for service, suffix := range services {
		object := &corev1.Service{}
		err := admin.Get(ctx, client.ObjectKey{Namespace: name + "-" + suffix, Name: service}, object)
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		fields := map[string]any{}
		for _, field := range trafficFields {
			value := plan.TrafficPolicy(object, field)
			// A field that went with the type of the Service keeps its managers.
			fields[field] = []any{value, value != nil && applies(object, v1alpha1.FieldManagerServices, field)}
		}
		shown["Service/"+service] = fields
	}
	return nil
}

func showPolicies(ctx context.Context, name string, shown map[string]any) error {
	for _, name := range []string{name, name + "-z"} {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		err := admin.Get(ctx, client.ObjectKey{Name: name}, policy)
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		status := policy.Status
		current := status.ObservedGeneration == policy.Generation
		status.LastDrift, status.LastDriftTime, status.ObservedGeneration = nil, nil, 0
		for i := range status.Conditions {
			c := &status.Conditions[i]
			current = current && c.ObservedGeneration == policy.Generation
			c.LastTransitionTime, c.ObservedGeneration = metav1.Time{}, 0
			c.Message, _, _ = strings.Cut(c.Message, "; forced: ")
		}
		// What is forced, and told, depends on the nodes of all sequences.
		status.Drift = slices.DeleteFunc(status.Drift, func(d v1alpha1.Drift) bool { return d.State == v1alpha1.StateForced })
		slices.SortFunc(status.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
		shown["Policy/"+name] = []any{current, policy.Finalizers, status}
	}
	return nil
}
