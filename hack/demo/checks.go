// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// A check looks at the cluster, and returns a description of the difference, or nothing; an
// error ends the wait.
type check func(context.Context) (wrong string, err error)

// pollUntilRight waits until a check finds no difference.
func pollUntilRight(ctx context.Context, limit time.Duration, c check) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	wrong := "nothing was seen"
	for {
		now, err := c(ctx)
		switch {
		case err == nil && now == "":
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("still wrong after %s: %s", limit, wrong)
		case err != nil:
			return err
		}
		wrong = now
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// waitAndSay waits until a check finds no difference, and prints so.
func (s *stage) waitAndSay(ctx context.Context, what string, c check) error {
	if err := pollUntilRight(ctx, patience, c); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	s.printLine("  ✓ %s", what)
	return nil
}

func (s *stage) waitForCondition(ctx context.Context, kind, status, reason string) error {
	return s.waitAndSay(ctx, fmt.Sprintf("%s is %s because of %s", kind, status, reason), func(ctx context.Context) (string, error) {
		policy, err := s.getPolicy(ctx)
		if err != nil {
			return "", err
		}
		c := meta.FindStatusCondition(policy.Status.Conditions, kind)
		if c == nil || c.ObservedGeneration != policy.Generation {
			return kind + " has not been reported yet", nil
		}
		if string(c.Status) != status || c.Reason != reason {
			return fmt.Sprintf("%s is %s because of %s: %s", kind, c.Status, c.Reason, c.Message), nil
		}
		return "", nil
	})
}

// posture is the part of the cluster under the policy.
type posture struct {
	tainted         int // control-plane nodes with the taint
	records         int // nodes and Services with a record
	networkPolicies []networkingv1.NetworkPolicy
	service         corev1.Service
}

func (s *stage) readPosture(ctx context.Context) (posture, error) {
	var p posture
	var nodes corev1.NodeList
	var policies networkingv1.NetworkPolicyList
	var records v1alpha1.ControlPlaneNodeRecordList
	err := errors.Join(
		s.client.List(ctx, &nodes, client.HasLabels{testbed.ControlPlaneRole}),
		s.client.List(ctx, &policies),
		s.client.List(ctx, &records),
		s.client.Get(ctx, client.ObjectKey{Namespace: "default", Name: "ingress"}, &p.service),
	)
	p.networkPolicies = policies.Items
	for _, node := range nodes.Items {
		if slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == testbed.ControlPlaneRole }) {
			p.tainted++
		}
	}
	p.records = len(records.Items)
	if _, ok := p.service.Annotations[v1alpha1.AnnotationRecord]; ok {
		p.records++
	}
	return p, err
}

// checkDeclared compares all objects with the policy.
func (s *stage) checkDeclared(ctx context.Context) (string, error) {
	p, err := s.readPosture(ctx)
	switch {
	case err != nil:
		return "", err
	case p.tainted != 3:
		return fmt.Sprintf("%d of 3 control-plane nodes have the taint", p.tainted), nil
	case len(p.networkPolicies) != 1:
		return fmt.Sprintf("there are %d NetworkPolicies instead of 1", len(p.networkPolicies)), nil
	case len(p.networkPolicies[0].Spec.Ingress) != 1 || len(p.networkPolicies[0].Spec.Ingress[0].Ports) != 2:
		return "the NetworkPolicy does not restrict the ports", nil
	case p.service.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal:
		return "the Service's externalTrafficPolicy is " + string(p.service.Spec.ExternalTrafficPolicy), nil
	}
	return "", nil
}

// checkUntouched expects no field or object of the policy.
func (s *stage) checkUntouched(ctx context.Context) (string, error) {
	p, err := s.readPosture(ctx)
	switch {
	case err != nil:
		return "", err
	case p.tainted != 0:
		return fmt.Sprintf("%d control-plane nodes have the taint", p.tainted), nil
	case p.records != 0:
		return fmt.Sprintf("%d objects carry a record", p.records), nil
	case len(p.networkPolicies) != 0:
		return fmt.Sprintf("there are %d NetworkPolicies", len(p.networkPolicies)), nil
	case p.service.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyCluster:
		return "the Service's externalTrafficPolicy is " + string(p.service.Spec.ExternalTrafficPolicy), nil
	}
	return "", nil
}

// checkPodsOnWorkers expects all pods of the Deployment "app" on workers.
func (s *stage) checkPodsOnWorkers(ctx context.Context) (string, error) {
	var pods corev1.PodList
	if err := s.client.List(ctx, &pods, client.InNamespace("default"), client.MatchingLabels{"app": "app"}); err != nil {
		return "", err
	}
	running := 0
	for _, pod := range pods.Items {
		if strings.HasPrefix(pod.Spec.NodeName, "cp-") {
			return "", fmt.Errorf("pod %s runs on %s", pod.Name, pod.Spec.NodeName)
		}
		if pod.Status.Phase == corev1.PodRunning {
			running++
		}
	}
	if running != 6 {
		return fmt.Sprintf("%d of 6 pods run", running), nil
	}
	return "", nil
}
