// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// helperVariable makes the test binary a helper, which starts a Calico with a cluster,
// prints the folder of the control plane, and waits to be killed.
const helperVariable = "CPNP_CALICO_HELPER"

func runHelper() int {
	cp, err := startEverything(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := json.NewEncoder(os.Stdout).Encode(cp.Dir); err != nil {
		return 1
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

func startEverything(ctx context.Context) (*testbed.ControlPlane, error) {
	cp, err := testbed.Start(ctx, testbed.Options{Aggregation: true})
	if err != nil {
		return nil, err
	}
	c, err := calico.Start(ctx, cp, calico.Options{})
	if err != nil {
		return nil, err
	}
	_, err = c.StartCluster(ctx, calico.ClusterOptions{Workers: 1, KubeControllers: true})
	return cp, err
}

// TestKilled: a killed test leaves no program running.
func TestKilled(t *testing.T) {
	network.Need(t, calico.Available(t.Context()))
	g := NewWithT(t)
	helper := exec.Command(os.Args[0])
	helper.Env = append(os.Environ(), helperVariable+"=yes")
	helper.Stderr = os.Stderr
	_, err := helper.StdinPipe()
	g.Expect(err).NotTo(HaveOccurred())
	stdout, err := helper.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(helper.Start()).To(Succeed())
	t.Cleanup(func() { _ = helper.Process.Kill(); _ = helper.Wait() })
	var dir string
	g.Expect(json.NewDecoder(stdout).Decode(&dir)).To(Succeed())
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	// Felix's own short-lived children count too while these run.
	g.Eventually(func() []string { return programsOf(dir) }, deadline, interval).Should(
		ConsistOf("etcd", "kube-apiserver", "apiserver", "calico-felix", "kube-controllers"))

	g.Expect(helper.Process.Kill()).To(Succeed())
	_ = helper.Wait()
	g.Eventually(func() []string { return programsOf(dir) }, deadline, interval).Should(BeEmpty())
}

// programsOf returns the programs of the control plane in dir: each has dir in its
// arguments or its environment.
func programsOf(dir string) []string {
	var found []string
	folders, _ := filepath.Glob("/proc/[0-9]*")
	for _, folder := range folders {
		cmdline, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(folder, "environ"))
		if strings.Contains(string(cmdline)+string(environ), dir+"/") {
			program, _, _ := strings.Cut(string(cmdline), "\x00")
			found = append(found, filepath.Base(program))
		}
	}
	return found
}
