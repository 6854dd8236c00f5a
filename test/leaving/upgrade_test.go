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

// previous is the revision that is upgraded from. A release is compared with the last one:
// CPNP_PREVIOUS=v0.1.0.
func previous() string {
	if revision := os.Getenv("CPNP_PREVIOUS"); revision != "" {
		return revision
	}
	return "HEAD~1"
}

// An upgrade from the previous version writes nothing to nodes and to Calico, cuts nothing,
// and goes on with a rollout where the previous version has left it.
func TestUpgradeFromThePreviousVersion(t *testing.T) {
	f := field.Enter(t, calico.IPTables)
	program, definitions := buildPrevious(f)
	applyDefinitions(f, definitions)
	stopPrevious := runPrevious(f, program)
	f.Create(f.Policy(field.KubeletOnly))
	defer f.Remove() // while an operator runs, unlike in a cleanup
	protected := field.Only("cp-2", "itself", "loopback")
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Becomes(field.KubeletPort, protected)

	t.Log("at rest")
	watchman := f.Watch()
	stopPrevious()
	before := writtenObjects(f)
	applyDefinitions(f, "../../config/crd/bases")
	stop := f.Operator()
	reconciles(f, 1)
	f.Reports(v1alpha1.ConditionReady, "True/AsDeclared")
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Expect(writtenObjects(f)).To(Equal(before))
	f.Expect(f.Reaches(field.KubeletPort)).To(Equal(protected))
	stop()

	t.Log("while a node soaks")
	stopPrevious = runPrevious(f, program)
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Rollout.SoakSeconds = ptr.To[int32](600)
		s.Network.Components[0].AllowFrom = append(s.Network.Components[0].AllowFrom, v1alpha1.PeerReference{Role: v1alpha1.RoleNodes})
	})
	f.Eventually(field.Phase("cp-1"), field.Patience, field.Tick).Should(Equal("Progressing/Soaking"), field.Enactments)
	stopPrevious()
	before = writtenObjects(f)
	started := field.EnactmentOf("cp-1").Status.StartTime
	f.Operator()
	reconciles(f, 601)
	f.Expect(field.Phase("cp-1")()).To(Equal("Progressing/Soaking"))
	f.Expect(field.EnactmentOf("cp-1").Status.StartTime).To(Equal(started), "the node is not started anew")
	f.Expect(writtenObjects(f)).To(Equal(before))
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.SoakSeconds = ptr.To[int32](0) })
	f.Phases("Enforced/Unproven", "Enforced/Unproven", "Enforced/Unproven")
	f.Becomes(field.KubeletPort, field.Only("cp-2", "worker-1", "itself", "loopback"))
	f.Expect(watchman.Stop()).To(BeEmpty())
}

// buildPrevious builds the previous version, and returns the program and the folder of the
// definitions.
func buildPrevious(f *field.Field) (program, definitions string) {
	f.T.Helper()
	dir := f.T.TempDir()
	source := exec.CommandContext(f.T.Context(), "git", "archive", "--format=tar", previous())
	source.Dir = "../.."
	archive, err := source.Output()
	f.Expect(err).NotTo(HaveOccurred(), "git has no %s: fetch the history, or set CPNP_PREVIOUS", previous())
	unpack := exec.CommandContext(f.T.Context(), "tar", "-x", "-C", dir)
	unpack.Stdin = bytes.NewReader(archive)
	out, err := unpack.CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
	program = filepath.Join(dir, "bin", "manager")
	build := exec.CommandContext(f.T.Context(), "go", "build", "-o", program, ".")
	build.Dir = dir
	out, err = build.CombinedOutput()
	f.Expect(err).NotTo(HaveOccurred(), string(out))
	return program, filepath.Join(dir, "config", "crd", "bases")
}

// applyDefinitions applies the CustomResourceDefinitions in a folder, as an upgrade does.
func applyDefinitions(f *field.Field, folder string) {
	f.T.Helper()
	f.Kubectl("apply --server-side --force-conflicts -f " + folder)
	f.Kubectl("wait --for=condition=Established --timeout=60s -f " + folder)
}

// runPrevious runs the program of the previous version as a process, and returns what ends the
// process, which is also done when the test ends.
func runPrevious(f *field.Field, program string) (stop func()) {
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

// reconciles waits until the operator that runs now has reported on a change of the policy, which
// asks for no other rules.
func reconciles(f *field.Field, soakSeconds int32) {
	f.T.Helper()
	f.Update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.SoakSeconds = &soakSeconds })
	f.Eventually(field.Condition(v1alpha1.ConditionProgrammed), field.Patience, field.Tick).ShouldNot(Equal("none"), field.Enactments)
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
