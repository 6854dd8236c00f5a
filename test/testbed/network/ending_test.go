// SPDX-License-Identifier: Apache-2.0

package network_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// helperVariable makes the test binary a helper, which creates a network with a program,
// prints the network namespace of the program, and waits.
const helperVariable = "CPNP_NETWORK_HELPER"

func runHelper() int {
	namespace, err := startWaiting()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	_, _ = fmt.Fprintln(os.Stdout, namespace)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// startWaiting starts a program that waits for input that never comes.
func startWaiting() (namespace string, err error) {
	n, err := network.New(context.Background(), "a")
	if err != nil {
		return "", err
	}
	input, _, err := os.Pipe()
	if err != nil {
		return "", err
	}
	program := exec.Command("cat")
	program.Stdin = input
	if err := n.Machine("a").Start(program); err != nil {
		return "", err
	}
	return os.Readlink(fmt.Sprintf("/proc/%d/ns/net", program.Process.Pid))
}

// TestEndings: however the process ends, no program stays in the namespace, and no other
// process holds the namespace.
func TestEndings(t *testing.T) {
	network.Need(t, network.Available(t.Context()))
	for name, end := range map[string]func(helper *exec.Cmd, stdin io.Closer) error{
		"return": func(_ *exec.Cmd, stdin io.Closer) error { return stdin.Close() },
		"kill":   func(helper *exec.Cmd, _ io.Closer) error { return helper.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			helper := exec.Command(os.Args[0])
			helper.Env = append(os.Environ(), helperVariable+"=yes")
			helper.Stderr = os.Stderr
			stdin, err := helper.StdinPipe()
			g.Expect(err).NotTo(HaveOccurred())
			stdout, err := helper.StdoutPipe()
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(helper.Start()).To(Succeed())
			t.Cleanup(func() { _ = helper.Process.Kill(); _ = helper.Wait() })
			line, err := bufio.NewReader(stdout).ReadString('\n')
			g.Expect(err).NotTo(HaveOccurred())
			namespace := strings.TrimSpace(line)
			g.Expect(inNamespace(namespace)).To(HaveLen(2), "the thread of the helper, and cat")

			g.Expect(end(helper, stdin)).To(Succeed())
			g.Eventually(func() []string { return inNamespace(namespace) }, 10*time.Second, 20*time.Millisecond).Should(BeEmpty())
		})
	}
}

// inNamespace returns the threads, of any process, in a network namespace.
func inNamespace(namespace string) []string {
	var found []string
	links, _ := filepath.Glob("/proc/[0-9]*/task/*/ns/net")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == namespace {
			found = append(found, link)
		}
	}
	return found
}
