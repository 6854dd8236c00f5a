// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// repairLimit is the time limit for the repair of a change by hand.
const repairLimit = time.Second

// meddler is the field manager of the changes by hand.
const meddler = "mallory"

// deed is a change by hand, with the name of the changed field.
type deed struct {
	what, field string
	command     []string
}

var deeds = []deed{
	{
		"opens the NetworkPolicy to every sender", "spec.ingress",
		[]string{"patch", "networkpolicy", "-n", "kube-system", "cpnp.control-plane.coredns", "--type=merge", "-p", `{"spec":{"ingress":[{}]}}`},
	},
	{
		"replaces the taints of cp-1", "node-role.kubernetes.io/control-plane:NoSchedule",
		[]string{"patch", "node", "cp-1", "--type=merge", "-p", `{"spec":{"taints":[{"key":"example.test/theirs","effect":"NoSchedule"}]}}`},
	},
	{
		"edits the public Service", "externalTrafficPolicy",
		[]string{"patch", "service", "ingress", "--type=merge", "-p", `{"spec":{"externalTrafficPolicy":"Cluster"}}`},
	},
}

func changeByHand(ctx context.Context, s *stage) error {
	for _, d := range deeds {
		if err := s.checkRepaired(ctx, d, s.checkDeclared); err != nil {
			return err
		}
	}
	if err := s.showKubectl(ctx, "get", "cpnp", "control-plane", "-o", "jsonpath={.status.lastDrift}{'\\n'}"); err != nil {
		return err
	}
	return s.waitAndSay(ctx, "mallory's own taint on cp-1 is still there", func(ctx context.Context) (string, error) {
		taints, err := s.runKubectl(ctx, "get", "node", "cp-1", "-o", "jsonpath={.spec.taints[*].key}")
		if err == nil && !strings.Contains(taints, "example.test/theirs") {
			return "the taints are " + taints, nil
		}
		return "", err
	})
}

// checkRepaired makes the change, waits for the repair, and expects the status to name the
// author. The printed time starts at the end of kubectl.
func (s *stage) checkRepaired(ctx context.Context, d deed, declared check) error {
	s.printLine("    %s %s", meddler, d.what)
	if err := s.showKubectl(ctx, append(slices.Clone(d.command), "--field-manager="+meddler)...); err != nil {
		return err
	}
	began := time.Now()
	if err := pollUntilRight(ctx, repairLimit, declared); err != nil {
		return fmt.Errorf("%s %s: %w", meddler, d.what, err)
	}
	took := time.Since(began)
	if err := s.waitForAttribution(ctx, d.field); err != nil {
		return err
	}
	s.printLine("  ✓ repaired at most %d ms later, and attributed to %s", took.Milliseconds(), meddler)
	return nil
}

// waitForAttribution waits until the status names the meddler and the field.
func (s *stage) waitForAttribution(ctx context.Context, field string) error {
	return pollUntilRight(ctx, patience, func(ctx context.Context) (string, error) {
		policy, err := s.getPolicy(ctx)
		if err != nil {
			return "", err
		}
		last := policy.Status.LastDrift
		if last == nil || last.Field != field || last.Manager != meddler {
			return fmt.Sprintf("status.lastDrift is %+v, not %s by %s", last, field, meddler), nil
		}
		return "", nil
	})
}

func (s *stage) getPolicy(ctx context.Context) (*v1alpha1.ControlPlaneNetworkPolicy, error) {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	return policy, s.client.Get(ctx, client.ObjectKey{Name: "control-plane"}, policy)
}
