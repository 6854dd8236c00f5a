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

// hostKinds are the Calico kinds written by the operator.
const hostKinds = "tiers.projectcalico.org,globalnetworksets.projectcalico.org,globalnetworkpolicies.projectcalico.org," +
	"hostendpoints.projectcalico.org,felixconfigurations.projectcalico.org"

// endpoint is the host endpoint of cp-1.
var endpoint = render.EndpointName(target, "")

// protectEtcd is the chapter about packets.
func protectEtcd(ctx context.Context, s *stage) error {
	if err := s.waitForCalico(); err != nil {
		return err
	}
	if s.noPackets != nil {
		s.printLine("  – left out, because packets cannot be tried here: %s", oneLine(s.noPackets))
		return nil
	}
	if err := s.openHosts(ctx); err != nil {
		return err
	}
	before, err := s.runKubectl(ctx, "get", hostKinds, "-o", "name")
	if err != nil {
		return err
	}
	if err := s.checkFlows(ctx, "every machine reaches etcd and the kubelet", func(flow) bool { return true }); err != nil {
		return err
	}
	for _, act := range []func(context.Context, *stage) error{showTrap, scopeFailsafes, releaseNode} {
		if err := act(ctx, s); err != nil {
			return err
		}
	}
	return removePolicy(ctx, s, before)
}

// showTrap shows Felix's failsafe ports overriding any policy, and the status reporting so.
func showTrap(ctx context.Context, s *stage) error {
	s.printLine("\n    A policy lets the control plane alone connect to both")
	if err := s.showKubectl(ctx, "apply", "-f", "hack/demo/etcd.yaml"); err != nil {
		return err
	}
	if err := s.watchRollout(ctx); err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, v1alpha1.ConditionProgrammed, "True", v1alpha1.ReasonAsDeclared); err != nil {
		return err
	}
	// The kubelet's protection proves that the rules have arrived, so etcd is open for
	// another reason.
	err := s.checkFlows(ctx, "the kubelet is protected, but etcd is as open as before", func(f flow) bool {
		return f.port == etcdPort || fromControlPlane(f)
	})
	if err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, v1alpha1.ConditionEffective, "False", v1alpha1.ReasonFailsafePorts); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "get", "cpnp"); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "get", "cpnp", "control-plane", "-o",
		`jsonpath={.status.conditions[?(@.type=="Effective")].message}{'\n'}`); err != nil {
		return err
	}
	return s.waitAndSay(ctx, "the status says which port is open, and what to do", s.checkExplained)
}

// watchRollout watches the nodes get the rules, one after the other.
func (s *stage) watchRollout(ctx context.Context) error {
	begun := func(phases map[string]string) bool { return phases[target] == v1alpha1.PhaseProgressing }
	done := func(phases map[string]string) bool {
		for _, phase := range phases {
			if phase != v1alpha1.PhaseEnforced {
				return false
			}
		}
		return len(phases) == controlPlaneNodes
	}
	if err := s.waitAndSay(ctx, target+" is started, and no other node has rules", s.checkOneByOne(begun)); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "get", "cpne"); err != nil {
		return err
	}
	if err := s.waitAndSay(ctx, "all nodes are enforced, each started after the node before was enforced", s.checkOneByOne(done)); err != nil {
		return err
	}
	return s.showKubectl(ctx, "get", "cpne")
}

// checkOneByOne waits for phases of the nodes, and fails if a node has rules too early. The
// operator writes enactments before rules, so enactments are read last.
func (s *stage) checkOneByOne(reached func(phases map[string]string) bool) check {
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

// checkExplained checks that the condition Effective names the port, the component and the
// remedy.
func (s *stage) checkExplained(ctx context.Context) (string, error) {
	policy, err := s.getPolicy(ctx)
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

func scopeFailsafes(ctx context.Context, s *stage) error {
	s.printLine("\n    The failsafe ports are scoped to the senders that the policy allows")
	if err := s.showKubectl(ctx, "patch", "cpnp", "control-plane", "--type=merge",
		"-p", `{"spec":{"network":{"failsafe":"Scope"}}}`); err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, v1alpha1.ConditionReady, "True", v1alpha1.ReasonAsDeclared); err != nil {
		return err
	}
	return s.checkFlows(ctx, "the control plane reaches etcd, and all other packets are dropped", fromControlPlane)
}

// releaseNode changes the label on the host endpoint that enforces the rules on a node. The
// label is set to another value and not removed, because the API server keeps no manager of
// a removed field, so the operator could not name the author of a removal.
func releaseNode(ctx context.Context, s *stage) error {
	s.printLine("")
	d := deed{
		"takes " + target + " out of the enforcement", "metadata.labels[" + render.LabelEnforced + "]",
		[]string{"label", "hostendpoints.projectcalico.org", endpoint, "--overwrite", render.LabelEnforced + "=false"},
	}
	err := s.checkRepaired(ctx, d, func(ctx context.Context) (string, error) {
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
	if err := s.showKubectl(ctx, "get", "cpnp", "control-plane", "-o", "jsonpath={.status.lastDrift}{'\\n'}"); err != nil {
		return err
	}
	return s.checkFlows(ctx, "etcd is protected", fromControlPlane)
}

// removePolicy deletes the policy. before is the list of Calico's objects before the
// policy.
func removePolicy(ctx context.Context, s *stage, before string) error {
	s.printLine("\n    The policy is deleted")
	if err := s.showKubectl(ctx, "delete", "cpnp", "control-plane"); err != nil {
		return err
	}
	err := s.waitAndSay(ctx, "nothing of the policy is left in Calico", func(ctx context.Context) (string, error) {
		now, err := s.runKubectl(ctx, "get", hostKinds, "-o", "name")
		if err == nil && now != before {
			return "there is now " + now, nil
		}
		return "", err
	})
	if err != nil {
		return err
	}
	return s.checkFlows(ctx, "every machine reaches etcd and the kubelet again", func(flow) bool { return true })
}
