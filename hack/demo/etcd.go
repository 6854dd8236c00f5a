// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
)

// hostKinds are the kinds of Calico that the operator writes.
const hostKinds = "tiers.projectcalico.org,globalnetworksets.projectcalico.org,globalnetworkpolicies.projectcalico.org," +
	"hostendpoints.projectcalico.org,felixconfigurations.projectcalico.org"

// endpoint is the host endpoint of cp-1.
var endpoint = render.EndpointName(target, "")

// protectEtcd is the chapter of which every claim is about packets.
func protectEtcd(ctx context.Context, s *stage) error {
	if err := s.waitForCalico(); err != nil {
		return err
	}
	if s.noPackets != nil {
		s.say("  – left out, because packets cannot be tried here: %s", oneLine(s.noPackets))
		return nil
	}
	if err := s.openHosts(ctx); err != nil {
		return err
	}
	before, err := s.kubectl(ctx, "get", hostKinds, "-o", "name")
	if err != nil {
		return err
	}
	if err := s.reach(ctx, "every machine reaches etcd and the kubelet", func(flow) bool { return true }); err != nil {
		return err
	}
	for _, act := range []func(context.Context, *stage) error{trap, scope, release} {
		if err := act(ctx, s); err != nil {
			return err
		}
	}
	return reopen(ctx, s, before)
}

// trap: Felix's failsafe ports are stronger than any policy, and the status
// says so.
func trap(ctx context.Context, s *stage) error {
	s.say("\n    A policy lets the control plane alone connect to both")
	if err := s.show(ctx, "apply", "-f", "hack/demo/etcd.yaml"); err != nil {
		return err
	}
	if err := s.rollsOut(ctx); err != nil {
		return err
	}
	if err := s.becomes(ctx, v1alpha1.ConditionProgrammed, "True", v1alpha1.ReasonAsDeclared); err != nil {
		return err
	}
	// That the kubelet is protected shows that etcd is not for another reason
	// than that the rules are still on their way.
	err := s.reach(ctx, "the kubelet is protected, but etcd is as open as before", func(f flow) bool {
		return f.port == etcdPort || fromControlPlane(f)
	})
	if err != nil {
		return err
	}
	if err := s.becomes(ctx, v1alpha1.ConditionEffective, "False", v1alpha1.ReasonFailsafePorts); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "cpnp"); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "cpnp", "control-plane", "-o",
		`jsonpath={.status.conditions[?(@.type=="Effective")].message}{'\n'}`); err != nil {
		return err
	}
	return s.check(ctx, "the status says which port is open, and what to do", s.explained)
}

// rollsOut watches the nodes get the rules, one after the other.
func (s *stage) rollsOut(ctx context.Context) error {
	begun := func(phases map[string]string) bool { return phases[target] == v1alpha1.PhaseProgressing }
	done := func(phases map[string]string) bool {
		for _, phase := range phases {
			if phase != v1alpha1.PhaseEnforced {
				return false
			}
		}
		return len(phases) == controlPlaneNodes
	}
	if err := s.check(ctx, target+" is started, and no other node has rules", s.oneByOne(begun)); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "cpne"); err != nil {
		return err
	}
	if err := s.check(ctx, "all nodes are enforced, each started after the node before was enforced", s.oneByOne(done)); err != nil {
		return err
	}
	return s.show(ctx, "get", "cpne")
}

// oneByOne waits for phases of the nodes, and fails if a node has rules before
// its turn. What is on record is read last: there it comes first.
func (s *stage) oneByOne(reached func(phases map[string]string) bool) check {
	return func(ctx context.Context) (string, error) {
		var endpoints v3.HostEndpointList
		var enactments v1alpha1.ControlPlaneNodeEnactmentList
		if err := errors.Join(s.client.List(ctx, &endpoints), s.client.List(ctx, &enactments)); err != nil {
			return "", err
		}
		phases, underWay := map[string]string{}, 0
		for i := range enactments.Items {
			e := &enactments.Items[i]
			phases[e.Spec.Node] = rollout.PhaseOf(e)
			if phases[e.Spec.Node] == v1alpha1.PhaseProgressing {
				underWay++
			}
		}
		if underWay > 1 {
			return "", fmt.Errorf("%d nodes are in flight at once: %v", underWay, phases)
		}
		for _, e := range endpoints.Items {
			if phase := phases[e.Spec.Node]; phase != v1alpha1.PhaseProgressing && phase != v1alpha1.PhaseEnforced {
				return "", fmt.Errorf("%s has rules, and is %s", e.Spec.Node, phase)
			}
		}
		if !reached(phases) {
			return fmt.Sprintf("the nodes are %v", phases), nil
		}
		return "", nil
	}
}

// explained checks that the condition Effective names the port, the component
// and the remedy.
func (s *stage) explained(ctx context.Context) (string, error) {
	policy, err := s.policy(ctx)
	if err != nil {
		return "", err
	}
	effective := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionEffective)
	for _, word := range []string{fmt.Sprint(etcdPort), "etcd", string(v1alpha1.FailsafeScope)} {
		if effective == nil || !strings.Contains(effective.Message, word) {
			return "it does not mention " + word, nil
		}
	}
	return "", nil
}

func scope(ctx context.Context, s *stage) error {
	s.say("\n    The failsafe ports are scoped to the senders that the policy allows")
	if err := s.show(ctx, "patch", "cpnp", "control-plane", "--type=merge", "-p", `{"spec":{"network":{"failsafe":"Scope"}}}`); err != nil {
		return err
	}
	if err := s.becomes(ctx, v1alpha1.ConditionReady, "True", v1alpha1.ReasonAsDeclared); err != nil {
		return err
	}
	return s.reach(ctx, "the control plane reaches etcd, and all other packets are dropped", fromControlPlane)
}

// release: a label on the host endpoint is what enforces on a node. Somebody
// who removed it could not be named: the API server keeps no manager of a field
// that is gone. Who sets it to something else is.
func release(ctx context.Context, s *stage) error {
	s.say("")
	d := deed{
		"takes " + target + " out of the enforcement", "metadata.labels[" + render.LabelEnforced + "]",
		[]string{"label", "hostendpoints.projectcalico.org", endpoint, "--overwrite", render.LabelEnforced + "=false"},
	}
	err := s.undone(ctx, d, func(ctx context.Context) (string, error) {
		var now v3.HostEndpoint
		if err := s.client.Get(ctx, client.ObjectKey{Name: endpoint}, &now); err != nil {
			return "", err
		}
		if value := now.Labels[render.LabelEnforced]; value != "true" {
			return fmt.Sprintf("the label is %q", value), nil
		}
		return "", nil
	})
	if err != nil {
		return err
	}
	if err := s.show(ctx, "get", "cpnp", "control-plane", "-o", "jsonpath={.status.lastDrift}{'\\n'}"); err != nil {
		return err
	}
	return s.reach(ctx, "etcd is protected", fromControlPlane)
}

// reopen deletes the policy. before is what there was in Calico.
func reopen(ctx context.Context, s *stage, before string) error {
	s.say("\n    The policy is deleted")
	if err := s.show(ctx, "delete", "cpnp", "control-plane"); err != nil {
		return err
	}
	err := s.check(ctx, "nothing of the policy is left in Calico", func(ctx context.Context) (string, error) {
		now, err := s.kubectl(ctx, "get", hostKinds, "-o", "name")
		if err == nil && now != before {
			return "there is now " + now, nil
		}
		return "", err
	})
	if err != nil {
		return err
	}
	return s.reach(ctx, "every machine reaches etcd and the kubelet again", func(flow) bool { return true })
}
