// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"testing"

	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// Helm 3 applies on the client side, with a merge of three states. It installs the same
// release, changes nothing when it upgrades to the same values, and leaves nothing behind.
func TestHelm3InstallsUpgradesAndUninstalls(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	run := func(arguments ...string) {
		t.Helper()
		out, err := runProgram(ctx, helm3, append(arguments, "--namespace", namespace)...)
		g.Expect(err).NotTo(HaveOccurred(), out)
	}
	policies := []string{ // once their definition exists
		"--set", "policies.plane.nodeSelector.matchLabels.helm3=here",
		"--set-string", "policies.plane.taints[0].key=" + role, "--set-string", "policies.plane.taints[0].effect=NoSchedule",
	}
	node := testbed.Node("helm3-1", testbed.InternalIP("10.80.0.3")) // for the job before the uninstall
	g.Expect(testbed.CreateNode(ctx, admin, node)).To(Succeed())
	run("install", release, chart, "--create-namespace", "--set", "probe.enabled=true,probe.namespace=cpnp-helm3-probe")
	run(append([]string{"upgrade", release, chart, "--reuse-values"}, policies...)...)
	before := versions(ctx, g)
	g.Expect(before).NotTo(BeEmpty())
	plane := &v1alpha1.ControlPlaneNetworkPolicy{}
	g.Expect(admin.Get(ctx, client.ObjectKey{Name: "plane"}, plane)).To(Succeed())
	g.Expect(plane.Spec.Mode).To(Equal(v1alpha1.ModeAudit))
	generation := plane.Generation

	run("upgrade", release, chart, "--reuse-values")
	g.Expect(versions(ctx, g)).To(Equal(before))
	g.Expect(admin.Get(ctx, client.ObjectKey{Name: "plane"}, plane)).To(Succeed())
	g.Expect(plane.Generation).To(Equal(generation))

	g.Expect(admin.Delete(ctx, plane)).To(Succeed())
	run("uninstall", release)
	g.Eventually(func() []string { return left(ctx, g) }).Should(BeEmpty())
}
