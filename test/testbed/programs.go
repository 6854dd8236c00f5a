// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// settleTime is how long a program without a visible first effect must run to count as
// started. A program with wrong flags or a wrong kubeconfig ends long before.
const settleTime = 500 * time.Millisecond

// longGrace is how long the controller-manager waits for a kubelet before it sets a node to
// Unknown and taints the node: longer than any test.
const longGrace = "24h"

// program is a program unknown to envtest. No such program listens: each needs the API
// server only.
type program struct {
	name string
	user string
	args []string
}

func (cp *ControlPlane) wantedPrograms() []program {
	certDir := cp.env.ControlPlane.GetAPIServer().CertDir
	var wanted []program
	if cp.options.ControllerManager {
		wanted = append(wanted, program{name: controllerManager, user: "system:kube-controller-manager", args: []string{
			"--bind-address=127.0.0.1", "--secure-port=0",
			"--leader-elect=false",
			"--use-service-account-credentials=false",
			"--service-account-private-key-file=" + filepath.Join(certDir, "sa-signer.key"),
			"--kube-api-qps=500", "--kube-api-burst=1000",
			// A node without a kubelet stays as the test has made it.
			"--node-monitor-grace-period=" + longGrace, "--node-startup-grace-period=" + longGrace,
		}})
	}
	if cp.options.Scheduler {
		wanted = append(wanted, program{name: scheduler, user: "system:kube-scheduler", args: []string{
			"--bind-address=127.0.0.1", "--secure-port=0",
			"--leader-elect=false",
		}})
	}
	if cp.options.Kwok {
		wanted = append(wanted, program{name: kwok, user: "kwok", args: []string{
			"--manage-nodes-with-annotation-selector=" + kwokAnnotation + "=" + kwokFake,
			"--config=" + filepath.Join(cp.AssetsDir, kwokStages),
			"--node-lease-duration-seconds=40",
			"--server-address=", "--node-port=0",
		}})
	}
	return wanted
}

// startPrograms starts the programs side by side, each as a user of its own, and returns
// once the programs work.
func (cp *ControlPlane) startPrograms(ctx context.Context) error {
	for _, p := range cp.wantedPrograms() {
		cp.options.showProgress("Starting " + p.name)
		if err := cp.startProgram(p); err != nil {
			return err
		}
	}
	if len(cp.processes) == 0 {
		return nil
	}
	if cp.options.ControllerManager {
		account := client.ObjectKey{Namespace: "default", Name: "default"}
		if err := cp.waitFor(ctx, "the default ServiceAccount", account, &corev1.ServiceAccount{}); err != nil {
			return err
		}
	}
	return cp.waitUntilSettled(ctx)
}

func (cp *ControlPlane) startProgram(p program) error {
	kubeconfig, err := cp.AddUserKubeconfig(p.user, Masters)
	if err != nil {
		return err
	}
	args := append([]string{"--kubeconfig=" + kubeconfig}, p.args...)
	cmd := exec.Command(filepath.Join(cp.AssetsDir, p.name), args...)
	started, err := cp.startProcess(p.name, cmd, (*exec.Cmd).Start)
	if err != nil {
		return err
	}
	cp.processes = append(cp.processes, started)
	cp.settled = time.Now().Add(settleTime)
	return nil
}

// waitUntilSettled waits until the last started program has run for settleTime, or any
// program has ended.
func (cp *ControlPlane) waitUntilSettled(ctx context.Context) error {
	return wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(context.Context) (bool, error) {
		return time.Now().After(cp.settled), cp.endedPrograms()
	})
}

// endedPrograms returns an error for every program that has ended without being stopped.
func (cp *ControlPlane) endedPrograms() error {
	var all []error
	for _, p := range cp.processes {
		all = append(all, p.Died())
	}
	return errors.Join(all...)
}
