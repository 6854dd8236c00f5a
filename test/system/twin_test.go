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

// endSequence ends the changes of the corner. Some states make the operator keep the last
// good state, and the twin has no such state, so these states are ended first: the policy
// must select a node, and the endpoint must be ready.
func (c *corner) endSequence(ctx context.Context) error {
	if err := c.patchAs(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.nodeName(1)}}, "owner",
		map[string]any{"metadata": map[string]any{"labels": map[string]any{"role": "cp"}}}); err != nil {
		return err
	}
	if err := c.setEndpoint(ctx, true); err != nil {
		return err
	}
	if c.specs[c.mainPolicy()] == nil {
		c.specs[c.mainPolicy()] = c.randomSpec(c.mainPolicy())
	}
	if c.ends == endsAudited {
		c.specs[c.rivalPolicy()] = nil
	}
	for _, name := range []string{c.mainPolicy(), c.rivalPolicy()} {
		if spec := c.specs[name]; spec != nil {
			spec = spec.DeepCopy()
			spec.Mode, spec.Suspend, spec.DeletionPolicy = v1alpha1.ModeEnforce, false, v1alpha1.DeletionRevert
			spec.NodeSelector = c.selectorOf("corner", c.name, "role", "cp")
			c.specs[name] = spec
		}
		c.noteStep("ends: spec of %s is %s", name, withCommonName(c.specs[name], c.name))
		if err := c.applyAfterDeletion(ctx, name); err != nil {
			return err
		}
	}
	switch c.ends {
	case endsAudited:
		return c.endAudited(ctx)
	case endsDeleted:
		return c.endDeleted(ctx)
	}
	return nil
}

// applyAfterDeletion is applySpec after a pending deletion of the policy.
func (c *corner) applyAfterDeletion(ctx context.Context, name string) error {
	if err := pollUntil(ctx, func() (bool, error) {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		err := c.admin.Get(ctx, client.ObjectKey{Name: name}, policy)
		return err != nil || policy.DeletionTimestamp == nil, client.IgnoreNotFound(err)
	}); err != nil {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		_ = c.admin.Get(ctx, client.ObjectKey{Name: name}, policy)
		return fmt.Errorf("waiting for the end of %s: %w; %s", name, err, withCommonName(policy.Status.Conditions, c.name))
	}
	return c.applySpec(ctx, name)
}

// pollUntil polls until the condition is true, or patience is over.
func pollUntil(ctx context.Context, so func() (bool, error)) error {
	return wait.PollUntilContextTimeout(ctx, 2*tick, patience, true, func(context.Context) (bool, error) { return so() })
}

// waitForReport waits until the operator has reported on the main policy.
func (c *corner) waitForReport(ctx context.Context) error {
	err := pollUntil(ctx, func() (bool, error) {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		err := c.admin.Get(ctx, client.ObjectKey{Name: c.mainPolicy()}, policy)
		verified := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionVerified)
		return err == nil && verified != nil && verified.ObservedGeneration == policy.Generation, err
	})
	if err != nil {
		return fmt.Errorf("waiting for a report on %s: %w", c.mainPolicy(), err)
	}
	return nil
}

// endAudited makes the operator stop writing, and then changes a taint as a foreign
// manager.
func (c *corner) endAudited(ctx context.Context) error {
	c.noteStep("ends: audit")
	c.specs[c.mainPolicy()].Mode = v1alpha1.ModeAudit
	c.specs[c.mainPolicy()].Taints = []v1alpha1.Taint{{Key: "cpnp.test/a", Value: "v1", Effect: corev1.TaintEffectNoSchedule}}
	if err := c.applySpec(ctx, c.mainPolicy()); err != nil {
		return err
	}
	if err := c.waitForReport(ctx); err != nil {
		return err
	}
	return c.patchAs(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: c.nodeName(1)}}, "mallory",
		map[string]any{"spec": map[string]any{"taints": []corev1.Taint{{Key: "cpnp.test/a", Value: "audited", Effect: corev1.TaintEffectNoSchedule}}}})
}

// endDeleted deletes the main policy once the policy is enforced.
func (c *corner) endDeleted(ctx context.Context) error {
	if err := c.waitForReport(ctx); err != nil {
		return err
	}
	c.noteStep("ends: delete %s", c.mainPolicy())
	c.specs[c.mainPolicy()] = nil
	return c.applySpec(ctx, c.mainPolicy())
}

// makeTwin creates a corner in the state that foreign managers left here.
func (c *corner) makeTwin(ctx context.Context) error {
	if c.ends == endsAudited {
		return nil // the operator wrote before the audit, and the written state stayed: a new policy would not lead to this state
	}
	for _, suffix := range []string{"a", "b"} {
		namespace := &corev1.Namespace{}
		if err := c.admin.Get(ctx, client.ObjectKey{Name: c.namespaceName(suffix)}, namespace); err != nil {
			return err
		}
		twin := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.twin + "-" + suffix, Labels: map[string]string{"zone": namespace.Labels["zone"]}}}
		if err := c.admin.Create(ctx, twin); err != nil {
			return err
		}
	}
	policies, err := c.compilePolicies(ctx)
	if err != nil {
		return err
	}
	return errors.Join(c.copyNodes(ctx, policies), c.copyServices(ctx, policies))
}

// compilePolicies returns the corner's policies in the form of the planner, oldest first.
func (c *corner) compilePolicies(ctx context.Context) ([]plan.Policy, error) {
	var policies []v1alpha1.ControlPlaneNetworkPolicy
	for _, name := range []string{c.mainPolicy(), c.rivalPolicy()} {
		policy := v1alpha1.ControlPlaneNetworkPolicy{}
		if err := c.admin.Get(ctx, client.ObjectKey{Name: name}, &policy); err == nil {
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

// The networks of nodes begin with the byte for corners, or the byte for twins.
const (
	cornerNetwork = "10."
	twinNetwork   = "11."
)

// nodesOf returns the nodes of a corner or a twin.
func (c *corner) nodesOf(ctx context.Context, name string) ([]corev1.Node, error) {
	var nodes []corev1.Node
	for n := 1; n <= 3; n++ {
		node := corev1.Node{}
		if err := c.admin.Get(ctx, client.ObjectKey{Name: fmt.Sprintf("%s-%d", name, n)}, &node); err == nil {
			nodes = append(nodes, node)
		} else if !apierrors.IsNotFound(err) {
			return nil, err
		}
	}
	return nodes, nil
}

func (c *corner) copyNodes(ctx context.Context, policies []plan.Policy) error {
	nodes, err := c.nodesOf(ctx, c.name)
	if err != nil {
		return err
	}
	for i := range nodes {
		node := &nodes[i]
		claims, _ := plan.TaintClaims(node, policies)
		twin := testbed.Node(c.twin+strings.TrimPrefix(node.Name, c.name), testbed.WithoutKwok(), testbed.NodeLabels(node.Labels))
		twin.Labels["corner"], twin.Labels[corev1.LabelHostname] = c.twin, twin.Name
		for _, address := range node.Status.Addresses { // an address of two nodes identifies neither node
			address.Address = twinNetwork + strings.TrimPrefix(address.Address, cornerNetwork)
			twin.Status.Addresses = append(twin.Status.Addresses, address)
		}
		testbed.NodeReady(corev1.ConditionTrue)(twin)
		for _, taint := range node.Spec.Taints {
			if !strings.HasPrefix(taint.Key, "node.kubernetes.io/") && !isClaimed(claims, state.TaintField(taint.Key, taint.Effect)) {
				twin.Spec.Taints = append(twin.Spec.Taints, taint)
			}
		}
		if err := testbed.CreateNode(ctx, c.admin, twin); err != nil {
			return err
		}
	}
	return nil
}

func isClaimed(claims []plan.Claim, field string) bool {
	return slices.ContainsFunc(claims, func(c plan.Claim) bool { return c.Field == field })
}

var trafficFields = []string{plan.ExternalTrafficPolicy, plan.InternalTrafficPolicy, plan.TrafficDistribution}

// claimsOn returns the policies' claims on a Service.
func (c *corner) claimsOn(ctx context.Context, service *corev1.Service, policies []plan.Policy) ([]plan.Claim, error) {
	namespace := &corev1.Namespace{}
	if err := c.admin.Get(ctx, client.ObjectKey{Name: service.Namespace}, namespace); err != nil {
		return nil, err
	}
	claims, _ := plan.ServiceClaims(state.Service{Service: service, NamespaceLabels: namespace.Labels}, policies)
	return claims, nil
}

func (c *corner) copyServices(ctx context.Context, policies []plan.Policy) error {
	for name := range services {
		service := &corev1.Service{}
		if err := c.admin.Get(ctx, c.serviceKey(name), service); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		claims, err := c.claimsOn(ctx, service, policies)
		if err != nil {
			return err
		}
		twin := testbed.Service(c.twin+"-"+services[name], name, service.Spec.Type, testbed.ServiceLabels(map[string]string{"corner": c.twin, "tier": service.Labels["tier"]}))
		if !isClaimed(claims, plan.ExternalTrafficPolicy) {
			twin.Spec.ExternalTrafficPolicy = service.Spec.ExternalTrafficPolicy
		}
		if !isClaimed(claims, plan.InternalTrafficPolicy) {
			twin.Spec.InternalTrafficPolicy = service.Spec.InternalTrafficPolicy
		}
		if !isClaimed(claims, plan.TrafficDistribution) {
			twin.Spec.TrafficDistribution = service.Spec.TrafficDistribution
		}
		if err := c.admin.Create(ctx, twin, client.FieldOwner("owner")); err != nil {
			return err
		}
		declared := map[string]any{}
		for _, field := range trafficFields {
			if value := plan.TrafficPolicy(service, field); value != nil && isAppliedBy(service, "gitops", field) {
				declared[field] = *value
			}
		}
		if len(declared) > 0 {
			if err := c.declareFields(ctx, client.ObjectKeyFromObject(twin), declared); err != nil {
				return err
			}
		}
		if name == "public" {
			slice := testbed.EndpointSlice(twin, testbed.Endpoint(c.twin+"-1", "10.200.0.1", true))
			if err := c.admin.Create(ctx, slice); err != nil {
				return err
			}
		}
	}
	return nil
}

// isAppliedBy tells whether the manager declares the field with server-side apply.
func isAppliedBy(service *corev1.Service, manager, field string) bool {
	return slices.ContainsFunc(service.ManagedFields, func(entry metav1.ManagedFieldsEntry) bool {
		var set fieldpath.Set
		return entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.FieldsV1 != nil &&
			set.FromJSON(entry.FieldsV1.GetRawReader()) == nil && set.Has(fieldpath.MakePathOrDie("spec", field))
	})
}

// createPolicies creates the twin's older policy, or its newer policy, because the older
// policy wins.
func (c *corner) createPolicies(ctx context.Context, older bool) error {
	if c.ends == endsAudited {
		return nil
	}
	policies, err := c.compilePolicies(ctx)
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
		if err := c.admin.Create(ctx, twin); err != nil {
			return err
		}
	}
	return nil
}

// compareWithTwin compares the operator's writes on corner and twin, and checks the
// remaining fields.
func (c *corner) compareWithTwin(ctx context.Context) error {
	if c.ends == endsAudited {
		return c.checkUnrepaired(ctx)
	}
	ours, err := c.describeCorner(ctx, c.name)
	if err != nil {
		return err
	}
	fresh, err := c.describeCorner(ctx, c.twin)
	if err != nil {
		return err
	}
	if diff := cmp.Diff(fresh, ours); diff != "" {
		return fmt.Errorf("the corner is not as if just applied (-fresh +this):\n%s", diff)
	}
	return c.checkLeftovers(ctx)
}

// checkUnrepaired: a policy that only audits repairs no foreign change.
func (c *corner) checkUnrepaired(ctx context.Context) error {
	node := &corev1.Node{}
	if err := c.admin.Get(ctx, client.ObjectKey{Name: c.nodeName(1)}, node); err != nil {
		return err
	}
	if value := plan.TaintValue(node, "cpnp.test/a:NoSchedule"); value == nil || *value != "audited" {
		return errors.New("Audit repaired a taint")
	}
	return nil
}

// checkLeftovers finds the operator's writes that no policy claims any more, and the
// operator's changes of foreign taints.
func (c *corner) checkLeftovers(ctx context.Context) error {
	policies, err := c.compilePolicies(ctx)
	if err != nil {
		return err
	}
	var failures []error
	nodes, err := c.nodesOf(ctx, c.name)
	if err != nil {
		return err
	}
	records, err := state.Observer{Cache: c.admin}.ListNodeRecords(ctx)
	if err != nil {
		return err
	}
	for i := range nodes {
		node := &nodes[i]
		claims, _ := plan.TaintClaims(node, policies)
		for _, taint := range taints {
			field := state.TaintField(taint.Key, taint.Effect)
			failures = append(failures, c.checkLeftover("Node/"+node.Name, field, plan.TaintValue(node, field), claims, absent))
		}
		failures = append(failures, findStrays("Node/"+node.Name, records.OfNode(node).Record, claims))
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
		if err := c.admin.Get(ctx, c.serviceKey(name), service); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		claims, err := c.claimsOn(ctx, service, policies)
		if err != nil {
			return err
		}
		for _, field := range trafficFields {
			failures = append(failures, c.checkLeftover("Service/"+name, field, plan.TrafficPolicy(service, field), claims, absent, "Cluster"))
		}
		record, err := state.ServiceRecord(service.Annotations)
		failures = append(failures, err, findStrays("Service/"+name, record, claims))
	}
	return errors.Join(failures...)
}

// checkLeftover checks a field without a claim: the field must have a foreign value, or its
// default.
func (c *corner) checkLeftover(object, field string, value *string, claims []plan.Claim, itself ...string) error {
	is := absent
	if value != nil {
		is = *value
	}
	if isClaimed(claims, field) || slices.Contains(itself, is) || c.gave[object+" "+field][is] {
		return nil
	}
	return fmt.Errorf("%s %s is %q, which only the operator has written, and no policy claims", object, field, is)
}

// findStrays finds entries of the record without a claim.
func findStrays(object string, record state.Record, claims []plan.Claim) error {
	for field, entry := range record {
		if !isClaimed(claims, field) {
			return fmt.Errorf("%s has a record of %s for policy %s, which does not claim it", object, field, entry.Policy)
		}
	}
	return nil
}

// describeCorner returns the operator's writes on a corner, as lines.
func (c *corner) describeCorner(ctx context.Context, name string) ([]string, error) {
	shown := map[string]any{}
	var errs []error
	for _, add := range []func(context.Context, string, map[string]any) error{c.showNetworkPolicies, c.showNodes, c.showServices, c.showPolicies} {
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

func (c *corner) showNetworkPolicies(ctx context.Context, name string, shown map[string]any) error {
	for _, suffix := range []string{"-a", "-b"} {
		var list networkingv1.NetworkPolicyList
		if err := c.admin.List(ctx, &list, client.InNamespace(name+suffix)); err != nil {
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

func (c *corner) showNodes(ctx context.Context, name string, shown map[string]any) error {
	nodes, err := c.nodesOf(ctx, name)
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

func (c *corner) showServices(ctx context.Context, name string, shown map[string]any) error {
	for service, suffix := range services {
		object := &corev1.Service{}
		err := c.admin.Get(ctx, client.ObjectKey{Namespace: name + "-" + suffix, Name: service}, object)
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		fields := map[string]any{}
		for _, field := range trafficFields {
			value := plan.TrafficPolicy(object, field)
			// A field that was lost with the type of the Service keeps its managers.
			fields[field] = []any{value, value != nil && isAppliedBy(object, v1alpha1.FieldManagerServices, field)}
		}
		shown["Service/"+service] = fields
	}
	return nil
}

func (c *corner) showPolicies(ctx context.Context, name string, shown map[string]any) error {
	for _, name := range []string{name, name + "-z"} {
		policy := &v1alpha1.ControlPlaneNetworkPolicy{}
		err := c.admin.Get(ctx, client.ObjectKey{Name: name}, policy)
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return err
		}
		status := policy.Status
		current := status.ObservedGeneration == policy.Generation
		status.LastDrift, status.LastDriftTime, status.ObservedGeneration = nil, nil, 0
		for i := range status.Conditions {
			condition := &status.Conditions[i]
			current = current && condition.ObservedGeneration == policy.Generation
			condition.LastTransitionTime, condition.ObservedGeneration = metav1.Time{}, 0
			condition.Message, _, _ = strings.Cut(condition.Message, "; forced: ")
		}
		// Forced values in the status depend on the nodes of all sequences.
		status.Drift = slices.DeleteFunc(status.Drift, func(d v1alpha1.Drift) bool { return d.State == v1alpha1.StateForced })
		slices.SortFunc(status.Conditions, func(a, b metav1.Condition) int { return strings.Compare(a.Type, b.Type) })
		shown["Policy/"+name] = []any{current, policy.Finalizers, status}
	}
	return nil
}
