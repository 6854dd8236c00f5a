// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// patience is how long a step may take at most.
const patience = time.Minute

// chapter is a part of the story: what is done, and what must then be so.
type chapter struct {
	title string
	play  func(context.Context, *stage) error
}

var chapters = []chapter{
	{"Audit shows what is wrong, and changes nothing", audit},
	{"Enforce repairs the drift", enforce},
	{"Somebody changes things by hand", meddle},
	{"A pod without a toleration stays off the control plane", schedule},
	{"Deleting the policy restores the original state", restore},
	{"On Calico, etcd is for the control plane alone", protectEtcd},
}

// tell plays the chapters. The first that fails ends the story.
func tell(ctx context.Context, s *stage) error {
	for i, c := range chapters {
		s.say("\n%d. %s", i+1, c.title)
		if err := c.play(ctx, s); err != nil {
			return s.failure(fmt.Errorf("%q failed: %w", c.title, err))
		}
		if s.calico != nil && i+2 < len(chapters) {
			if now := s.calico.underWay(); now != "" {
				s.say("\n· Calico is being built for chapter %d meanwhile. %s", len(chapters), now)
			}
		}
	}
	if s.noPackets == nil {
		s.say("\n✓ Every step was checked against the API server, and every flow by connecting.")
	} else {
		s.say("\n✓ Every step was checked against the API server.")
	}
	return nil
}

// failure adds the end of the operator's log to an error.
func (s *stage) failure(err error) error {
	log, readErr := os.ReadFile(s.logPath)
	if readErr != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return fmt.Errorf("%w\n\nThe end of the operator's log:\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

func audit(ctx context.Context, s *stage) error {
	if err := s.show(ctx, "apply", "-f", "config/samples/control-plane.yaml"); err != nil {
		return err
	}
	if err := s.becomes(ctx, "Ready", "False", "Drifted"); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "cpnp"); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "cpnp", "control-plane", "-o",
		"jsonpath={range .status.drift[*]}{.cause} {.kind}/{.name} {.field}{'\\n'}{end}"); err != nil {
		return err
	}
	return s.check(ctx, "nothing was written", s.untouched)
}

func enforce(ctx context.Context, s *stage) error {
	if err := s.show(ctx, "patch", "cpnp", "control-plane", "--type=merge", "-p", `{"spec":{"mode":"Enforce"}}`); err != nil {
		return err
	}
	if err := s.becomes(ctx, "Ready", "True", "AsDeclared"); err != nil {
		return err
	}
	if err := s.show(ctx, "get", "cpnp"); err != nil {
		return err
	}
	return s.check(ctx, "the taints, the NetworkPolicy and the Service are as declared", s.declared)
}

func schedule(ctx context.Context, s *stage) error {
	if s.small {
		s.say("  – left out: this control plane has no scheduler. `make testbed` builds one that has (about 7 minutes),")
		s.say("    and the demo takes it if KUBEBUILDER_ASSETS is unset")
		return nil
	}
	if _, err := s.kubectl(ctx, "create", "deployment", "app", "--image=example.test/app", "--replicas=6"); err != nil {
		return err
	}
	if err := s.check(ctx, "6 pods without a toleration run, none of them on the control plane", s.offControlPlane); err != nil {
		return err
	}
	return s.show(ctx, "get", "pods", "-l", "app=app", "-o", "custom-columns=POD:.metadata.name,NODE:.spec.nodeName,PHASE:.status.phase")
}

func restore(ctx context.Context, s *stage) error {
	if err := s.show(ctx, "delete", "cpnp", "control-plane"); err != nil {
		return err
	}
	return s.check(ctx, "no taint, NetworkPolicy or annotation of the operator is left, and the Service is as before", s.untouched)
}
