// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	// namespaces is the number of namespaces of the Services.
	namespaces = 20
	// targets is the number of objects of each kind that drift in turn, for the operator
	// and for the null repairer. The policy has as many components, the most that the API
	// allows.
	targets = 32
	// workers is the number of concurrent requests of the bare client.
	workers = 32
	// images of a node, and hostPods on the node (a CNI and a proxy), so that the operator
	// reads as much as in a busy cluster.
	images   = 30
	hostPods = 2
)

// The label with the name of an object's repairer.
const (
	repairedBy   = "repaired-by"
	operatorUser = "cpnp-operator"
	nullUser     = "null-repairer"
)

func ownerLabels(owner string) map[string]string { return map[string]string{repairedBy: owner} }

func namespaceOf(i int) string              { return fmt.Sprintf("bench-%d", i%namespaces) }
func objectName(owner string, i int) string { return fmt.Sprintf("%s-%d", owner, i) }

// runParallel calls do for 0 to count-1, with as many concurrent calls as the bare client
// has workers.
func runParallel(ctx context.Context, count int, do func(i int) error) error {
	var mu sync.Mutex
	var first error
	workqueue.ParallelizeUntil(ctx, workers, count, func(i int) {
		if err := do(i); err != nil {
			mu.Lock()
			defer mu.Unlock()
			first = errors.Join(first, err)
		}
	})
	return errors.Join(ctx.Err(), first)
}

// fillCluster creates the operator's objects, and for the null repairer as many objects as
// drift.
func (b *bench) fillCluster(ctx context.Context) error {
	if err := b.grantShippedRights(ctx); err != nil {
		return err
	}
	for i := range namespaces {
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespaceOf(i)}}
		if err := b.admin.Create(ctx, object); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		owner string
		count int
		do    func(ctx context.Context, owner string, i int) error
	}{
		{operatorUser, b.nodes, b.createNode},
		{operatorUser, b.services, b.createService},
		{nullUser, targets, b.createNode},
		{nullUser, targets, b.createService},
	} {
		if err := runParallel(ctx, step.count, func(i int) error { return step.do(ctx, step.owner, i) }); err != nil {
			return err
		}
	}
	return nil
}

// benchNode is a node of the size of nodes in busy clusters.
func benchNode(owner string, i int) *corev1.Node {
	network := 100 // a network for each owner, because an address of two nodes identifies neither node
	if owner == nullUser {
		network = 90
	}
	node := testbed.Node(objectName(owner, i), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
		testbed.NodeLabels(ownerLabels(owner)), testbed.InternalIP(fmt.Sprintf("10.%d.%d.%d", network+i/62500, i/250%250, i%250+1)))
	for image := range images {
		tag := fmt.Sprintf("registry.example/some/image-%d", image)
		node.Status.Images = append(node.Status.Images, corev1.ContainerImage{
			SizeBytes: 1 << 25, Names: []string{fmt.Sprintf("%s@sha256:%064d", tag, image), tag + ":v1.2.3"},
		})
	}
	return node
}

func (b *bench) createNode(ctx context.Context, owner string, i int) error {
	node := benchNode(owner, i)
	if err := testbed.CreateNode(ctx, b.admin, node); err != nil {
		return err
	}
	for pod := range hostPods {
		object := testbed.Pod(metav1.NamespaceSystem, fmt.Sprintf("agent-%d-%s", pod, node.Name),
			testbed.OnNode(node.Name), testbed.HostNetwork())
		if err := b.admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) createService(ctx context.Context, owner string, i int) error {
	service := testbed.Service(namespaceOf(i), objectName(owner, i), corev1.ServiceTypeClusterIP, testbed.ServiceLabels(ownerLabels(owner)))
	if err := b.admin.Create(ctx, service); err != nil {
		return err
	}
	return b.admin.Create(ctx, testbed.EndpointSlice(service,
		testbed.Endpoint(objectName(operatorUser, i%b.nodes), "10.200.0.1", true),
		testbed.Endpoint(objectName(operatorUser, (i+1)%b.nodes), "10.200.0.2", true)))
}

// grantShippedRights binds the roles that are shipped, and nothing more, and installs the
// admission policies that confine the operator.
func (b *bench) grantShippedRights(ctx context.Context) error {
	scraper := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: "scraper"}
	operator := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: scraper.Namespace, Name: scraper.Name}}
	if err := b.admin.Create(ctx, account); err != nil {
		return err
	}
	for file, subject := range map[string]rbacv1.Subject{
		"config/rbac/role.yaml":                operator,
		"config/rbac/metrics_auth_role.yaml":   operator,
		"config/rbac/metrics_reader_role.yaml": scraper,
	} {
		role := &rbacv1.ClusterRole{}
		if err := readYAML(file, role); err != nil {
			return err
		}
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: role.Name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
			Subjects:   []rbacv1.Subject{subject},
		}
		for _, object := range []client.Object{role, binding} {
			if err := b.admin.Create(ctx, object); err != nil {
				return err
			}
		}
	}
	besides, err := testbed.ShippedBesides("config", operatorUser)
	if err != nil {
		return err
	}
	for _, object := range besides {
		if err := b.admin.Create(ctx, object); err != nil {
			return err
		}
	}
	return nil
}

func readYAML(file string, to any) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict(text, to); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// benchPolicy selects all Nodes and Services of the operator.
func benchPolicy() *v1alpha1.ControlPlaneNetworkPolicy {
	selector := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{repairedBy: operatorUser}}
	network := &v1alpha1.NetworkSpec{}
	for i := range targets {
		app := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": v1alpha1.LabelValue(objectName("component", i))}}
		network.Components = append(network.Components, v1alpha1.Component{
			Name:      objectName("component", i),
			Pods:      &v1alpha1.PodSelector{Namespace: namespaceOf(0), Selector: app},
			Ports:     []v1alpha1.Port{{Protocol: "TCP", Port: 443}},
			AllowFrom: []v1alpha1.PeerReference{{Role: v1alpha1.RoleControlPlane}},
		})
	}
	return &v1alpha1.ControlPlaneNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "bench"},
		Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
			Mode:         v1alpha1.ModeEnforce,
			NodeSelector: selector,
			Network:      network,
			// No CNI runs here, so the operator cannot detect a CNI.
			Profile: v1alpha1.Profile{NetworkPolicies: v1alpha1.NetworkPoliciesEnforced},
			Taints:  []v1alpha1.Taint{{Key: testbed.ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}},
			Services: []v1alpha1.ServiceTrafficPolicy{{
				Name: "all", Selector: selector, NamespaceSelector: &v1alpha1.LabelSelector{},
				InternalTrafficPolicy: corev1.ServiceInternalTrafficPolicyLocal, LocalPolicy: v1alpha1.LocalForce,
			}},
		},
	}
}
