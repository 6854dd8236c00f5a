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

// repairLimit is how soon after a change by hand everything must be as declared
// again.
const repairLimit = time.Second

// meddler is the field manager that the changes by hand are made under.
const meddler = "mallory"

// deed is a change by hand, and the field that the operator must then name.
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

func meddle(ctx context.Context, s *stage) error {
	for _, d := range deeds {
		if err := s.undone(ctx, d, s.declared); err != nil {
			return err
		}
	}
	if err := s.show(ctx, "get", "cpnp", "control-plane", "-o", "jsonpath={.status.lastDrift}{'\\n'}"); err != nil {
		return err
	}
	return s.check(ctx, "mallory's own taint on cp-1 is still there", func(ctx context.Context) (string, error) {
		taints, err := s.kubectl(ctx, "get", "node", "cp-1", "-o", "jsonpath={.spec.taints[*].key}")
		if err == nil && !strings.Contains(taints, "example.test/theirs") {
			return "the taints are " + taints, nil
		}
		return "", err
	})
}

// undone does the deed, and checks that the operator soon has everything as
// declared again and knows who did what. How long it took is since kubectl came
// back.
func (s *stage) undone(ctx context.Context, d deed, declared check) error {
	s.say("    %s %s", meddler, d.what)
	if err := s.show(ctx, append(slices.Clone(d.command), "--field-manager="+meddler)...); err != nil {
		return err
	}
	began := time.Now()
	if err := poll(ctx, repairLimit, declared); err != nil {
		return fmt.Errorf("%s %s: %w", meddler, d.what, err)
	}
	took := time.Since(began)
	if err := s.attributed(ctx, d.field); err != nil {
		return err
	}
	s.say("  ✓ repaired at most %d ms later, and attributed to %s", took.Milliseconds(), meddler)
	return nil
}

// attributed waits until the status names the meddler and the field.
func (s *stage) attributed(ctx context.Context, field string) error {
	return poll(ctx, patience, func(ctx context.Context) (string, error) {
		policy, err := s.policy(ctx)
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

func (s *stage) policy(ctx context.Context) (*v1alpha1.ControlPlaneNetworkPolicy, error) {
	policy := &v1alpha1.ControlPlaneNetworkPolicy{}
	return policy, s.client.Get(ctx, client.ObjectKey{Name: "control-plane"}, policy)
}
