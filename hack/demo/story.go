// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// patience is the time limit for a step.
const patience = time.Minute

// chapter is a part of the story: an action, and the expected state afterwards.
type chapter struct {
	title string
	play  func(context.Context, *stage) error
}

var chapters = []chapter{
	{"Audit shows what is wrong, and changes nothing", playAudit},
	{"Enforce repairs the drift", playEnforce},
	{"Changes by hand are repaired", changeByHand},
	{"A pod without a toleration stays off the control plane", playSchedule},
	{"Deleting the policy restores the original state", playDeletion},
	{"A backup of etcd is taken, verified, and known to the policy", backupEtcd},
	{"On Calico, etcd is for the control plane alone", protectEtcd},
	{"TLS that is not as declared is found, by probes from the nodes", judgeTLS},
}

// firstWithPackets is the number of the first chapter that needs Calico.
const firstWithPackets = 7

// tellStory plays the chapters. The first failed chapter ends the story.
func tellStory(ctx context.Context, s *stage) error {
	for i, c := range chapters {
		s.printLine("\n%d. %s", i+1, c.title)
		if err := c.play(ctx, s); err != nil {
			return s.withLog(fmt.Errorf("%q failed: %w", c.title, err))
		}
		if s.calico != nil && i+2 < firstWithPackets {
			if now := s.calico.lastLine(); now != "" {
				s.printLine("\n· Calico is being built for chapter %d meanwhile. %s", firstWithPackets, now)
			}
		}
	}
	if s.noPackets == nil {
		s.printLine("\n✓ Every step was checked against the API server, and every flow by connecting.")
	} else {
		s.printLine("\n✓ Every step was checked against the API server.")
	}
	return nil
}

// withLog adds the end of the operator's log to an error.
func (s *stage) withLog(err error) error {
	log, readErr := os.ReadFile(s.logPath)
	if readErr != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return fmt.Errorf("%w\n\nThe end of the operator's log:\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

func playAudit(ctx context.Context, s *stage) error {
	if err := s.showKubectl(ctx, "apply", "-f", "config/samples/control-plane.yaml"); err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, "Ready", "True", "Audited"); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "get", "cpnp"); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "get", "cpnp", "control-plane", "-o",
		"jsonpath={range .status.drift[*]}{.cause} {.kind}/{.name} {.field}{'\\n'}{end}"); err != nil {
		return err
	}
	return s.waitAndSay(ctx, "nothing was written", s.checkUntouched)
}

func playEnforce(ctx context.Context, s *stage) error {
	if err := s.showKubectl(ctx, "patch", "cpnp", "control-plane", "--type=merge", "-p", `{"spec":{"mode":"Enforce"}}`); err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, "Ready", "True", "AsDeclared"); err != nil {
		return err
	}
	if err := s.showKubectl(ctx, "get", "cpnp"); err != nil {
		return err
	}
	return s.waitAndSay(ctx, "the taints, the NetworkPolicy and the Service are as declared", s.checkDeclared)
}

func playSchedule(ctx context.Context, s *stage) error {
	if s.small {
		s.printLine("  – left out: this control plane has no scheduler. `make testbed` builds one that has (about 7 minutes),")
		s.printLine("    and the demo takes it if KUBEBUILDER_ASSETS is unset")
		return nil
	}
	if _, err := s.runKubectl(ctx, "create", "deployment", "app", "--image=example.test/app", "--replicas=6"); err != nil {
		return err
	}
	if err := s.waitAndSay(ctx, "6 pods without a toleration run, none of them on the control plane", s.checkPodsOnWorkers); err != nil {
		return err
	}
	return s.showKubectl(ctx, "get", "pods", "-l", "app=app",
		"-o", "custom-columns=POD:.metadata.name,NODE:.spec.nodeName,PHASE:.status.phase")
}

func playDeletion(ctx context.Context, s *stage) error {
	if err := s.showKubectl(ctx, "delete", "cpnp", "control-plane"); err != nil {
		return err
	}
	return s.waitAndSay(ctx, "no taint, NetworkPolicy or annotation of the operator is left, and the Service is as before", s.checkUntouched)
}
