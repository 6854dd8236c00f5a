// SPDX-License-Identifier: Apache-2.0

package leaving

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/field"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// An upgrade from the previous version writes nothing to nodes and to Calico,
// cuts no flow, and continues a rollout where the previous version has left it.
func TestUpgradeFromThePreviousVersion(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	program, definitions := buildPrevious(f)
	applyDefinitions(f, definitions)
	stopPrevious := startPrevious(f, program)
	f.CreatePolicy(f.NewPolicy(field.KubeletOnly))
	defer f.RemovePolicy() // while an operator runs, unlike in a cleanup
	protected := field.OnlyFrom("cp-2", "itself", "loopback")
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.WaitForReachability(field.KubeletPort, protected)

	t.Log("at rest")
	watchman := f.WatchRequiredFlows()
	stopPrevious()
	before := writtenObjects(f)
	applyDefinitions(f, "../../config/crd/bases")
	stop := f.StartOperator()
	waitForReport(f, 1)
	f.WaitForCondition(v1alpha1.ConditionReady, "True/AsDeclared")
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Expect(writtenObjects(f)).To(Equal(before))
	f.Expect(f.ReachabilityOf(field.KubeletPort)).To(Equal(protected))
	stop()

	t.Log("while a node soaks")
	stopPrevious = startPrevious(f, program)
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.SoakSeconds = ptr.To[int32](600)
		s.Network.Components[0].AllowFrom = append(s.Network.Components[0].AllowFrom, v1alpha1.PeerReference{Role: v1alpha1.RoleNodes})
	})
	f.Eventually(field.PhaseOf("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.DescribeEnactments)
	stopPrevious()
	before = writtenObjects(f)
	started := field.EnactmentOf("cp-1").Status.StartTime
	f.StartOperator()
	waitForReport(f, 601)
	f.Expect(field.PhaseOf("cp-1")()).To(Equal("Progressing/Soaking"))
	f.Expect(field.EnactmentOf("cp-1").Status.StartTime).To(Equal(started), "the node is not started again")
	f.Expect(writtenObjects(f)).To(Equal(before))
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.SoakSeconds = ptr.To[int32](0) })
	f.WaitForPhases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.WaitForReachability(field.KubeletPort, field.OnlyFrom("cp-2", "worker-1", "itself", "loopback"))
	f.Expect(watchman.StopWatching()).To(BeEmpty())
}

// buildPrevious builds the previous version, and returns the program and the folder of the
// definitions.
func buildPrevious(f *field.Field) (program, definitions string) {
	f.T.Helper()
	source := previousSource(f)
	program = filepath.Join(f.T.TempDir(), "manager")
	build := exec.CommandContext(f.T.Context(), "go", "build", "-o", program, ".")
	build.Dir = source
	out, err := build.CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
	return program, filepath.Join(source, "config", "crd", "bases")
}

// previousSource returns a folder with the source of the previous version: the parent of the
// current revision, or CPNP_PREVIOUS, such as the tag of the last release. A clone without
// history upgrades from itself.
func previousSource(f *field.Field) string {
	f.T.Helper()
	const here = "../.."
	revision, wanted := os.LookupEnv("CPNP_PREVIOUS")
	if !wanted {
		revision = "HEAD~1"
	}
	archive := exec.CommandContext(f.T.Context(), "git", "archive", "--format=tar", revision)
	archive.Dir = here
	content, err := archive.Output()
	if err != nil && !wanted {
		f.T.Logf("git has no %s (%v): the upgrade is one from the same version", revision, err)
		return here
	}
	f.Expect(err).NotTo(HaveOccurred(), "git has no %s: fetch the history", revision)
	dir := f.T.TempDir()
	unpack := exec.CommandContext(f.T.Context(), "tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(content)
	out, err := unpack.CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
	return dir
}

// applyDefinitions applies the CustomResourceDefinitions in a folder, as an upgrade does.
func applyDefinitions(f *field.Field, folder string) {
	f.T.Helper()
	f.RunKubectl("apply --server-side --force-conflicts -f " + folder)
	f.RunKubectl("wait --for=condition=Established --timeout=60s -f " + folder)
}

// startPrevious runs the program of the previous version as a process, and returns a function that
// ends the process. The end of the test ends the process, too.
func startPrevious(f *field.Field, program string) (stop func()) {
	f.T.Helper()
	kubeconfig, err := field.ControlPlane.AddUserKubeconfig("cpnp-operator")
	f.Expect(err).NotTo(HaveOccurred())
	var log bytes.Buffer
	running := exec.CommandContext(context.Background(), program,
		"--kubeconfig="+kubeconfig, "--metrics-bind-address=0", "--health-probe-bind-address=0")
	running.Stdout, running.Stderr = &log, &log
	f.Expect(running.Start()).To(Succeed())
	stop = func() {
		if running.ProcessState != nil {
			return
		}
		f.Expect(running.Process.Signal(syscall.SIGTERM)).To(Succeed())
		f.Expect(running.Wait()).To(Succeed(), log.String)
	}
	f.T.Cleanup(stop)
	return stop
}

// waitForReport waits until the operator that runs now has reported on a change of the policy, which
// asks for no other rules.
func waitForReport(f *field.Field, soakSeconds int32) {
	f.T.Helper()
	f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.SoakSeconds = &soakSeconds })
	f.Eventually(field.ConditionOf(v1alpha1.ConditionProgrammed), field.Patience, field.Tick).ShouldNot(Equal("none"), field.DescribeEnactments)
}

// writtenObjects returns the versions of Calico's objects of the kinds that the operator writes.
func writtenObjects(f *field.Field) map[string]string {
	f.T.Helper()
	versions := map[string]string{}
	for _, list := range []client.ObjectList{
		&v3.TierList{}, &v3.GlobalNetworkPolicyList{}, &v3.GlobalNetworkSetList{}, &v3.HostEndpointList{}, &v3.FelixConfigurationList{},
	} {
		f.Expect(field.Admin.List(f.T.Context(), list)).To(Succeed())
		f.Expect(meta.EachListItem(list, func(object runtime.Object) error {
			o := object.(client.Object)
			versions[o.GetObjectKind().GroupVersionKind().Kind+"/"+o.GetName()] = o.GetResourceVersion()
			return nil
		})).To(Succeed())
	}
	return versions
}
