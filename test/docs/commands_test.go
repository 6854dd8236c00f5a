// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/cpnp-dev/cpnp-operator/test/docs/page"
)

// pages are the pages whose commands run, in this order: the first installs
// the operator, and the last removes the operator.
var pages = []string{"getting-started", "troubleshooting", "where-it-runs", "hosts", "break-glass", "day-2"}

// limit bounds all commands together.
const limit = 5 * time.Minute

// states are the states that a page can request in a comment that readers do not see.
var states = map[string]string{
	"enforced": `
kubectl --namespace cpnp-system scale deployment cpnp-operator --replicas=2
kubectl apply -f - <<'YAML'
apiVersion: cpnp.dev/v1alpha1
kind: ControlPlaneNetworkPolicy
metadata: {name: control-plane}
spec:
  mode: Enforce
  nodeSelector:
    matchExpressions: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]
  network:
    components: [{name: etcd}, {name: kubelet}]
  taints: [{key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]
  rollout: {soakSeconds: 0}
YAML`,
}

// wait runs after the preparation, once the operator runs.
const wait = `
kubectl wait --for=condition=Programmed cpnp/control-plane --timeout=2m
kubectl wait --for=condition=TaintsInSync cpnp/control-plane --timeout=1m`

// TestCommandsOfThePagesRun runs every marked block of the pages, and compares
// the output with the block that the page shows.
func TestCommandsOfThePagesRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	reader := &reader{}
	defer reader.stopOperator()
	for _, name := range pages {
		if !t.Run(name, func(t *testing.T) { reader.followPage(ctx, t, name) }) {
			return // the later pages continue where this page ends
		}
	}
	requireNothingLeft(ctx, t)
}

// reader follows the instructions of a page.
type reader struct{ releaseFollower }

func (r *reader) followPage(ctx context.Context, t *testing.T, name string) {
	text, err := os.ReadFile(filepath.Join(root, "docs", name+".md"))
	if err != nil {
		t.Fatal(err)
	}
	printed, ran := "", 0
	for _, block := range page.FindBlocks(string(text)) {
		if state := block.PreparedState(); state != "" {
			r.runCommands(ctx, t, block.Line, states[state])
			r.runCommands(ctx, t, block.Line, wait)
		}
		switch {
		case block.HasMark(page.MarkExpect):
			if line := page.MissingLine(block.Text, printed); line != "" {
				t.Fatalf("line %d of the page shows\n%s\nbut this was printed:\n%s", block.Line, line, printed)
			}
		case !block.HasMark(page.MarkRun):
		case block.Language == "table":
			for _, command := range block.Commands() {
				printed = r.runCommands(ctx, t, block.Line, command)
				ran++
			}
		default:
			printed = r.runCommands(ctx, t, block.Line, block.Text)
			ran++
		}
	}
	if ran == 0 {
		t.Error("the page has no commands to run")
	}
}

// runCommands runs commands as a user would who stops at the first failure, and returns the standard output.
func (r *reader) runCommands(ctx context.Context, t *testing.T, line int, commands string) string {
	t.Helper()
	started := time.Now()
	command := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	command.Dir, command.Env = root, shell
	output := &bytes.Buffer{}
	command.Stderr = output
	printed, err := command.Output()
	if err != nil {
		t.Fatalf("line %d: %v\n%s\nprinted:\n%s%s", line, err, commands, printed, output)
	}
	if err := r.followRelease(ctx); err != nil {
		t.Fatalf("line %d: the operator does not follow the release: %v", line, err)
	}
	t.Logf("%5.1f s, line %d: %s\n%s%s", time.Since(started).Seconds(), line, commands, printed, output)
	return string(printed)
}
