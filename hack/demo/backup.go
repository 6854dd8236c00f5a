// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/tlsservers"
)

// backupEtcd is the chapter about backups of etcd: nobody knows of one; a snapshot is taken,
// verified and stamped; a damaged snapshot is noticed.
func backupEtcd(ctx context.Context, s *stage) error {
	for _, file := range []string{"namespace.yaml", "lease.yaml"} {
		if _, err := s.runKubectl(ctx, "apply", "-f", "config/etcd-snapshot/"+file); err != nil {
			return err
		}
	}
	if err := s.showKubectl(ctx, "apply", "-f", "hack/demo/backup.yaml"); err != nil {
		return err
	}
	if err := s.waitForCondition(ctx, v1alpha1.ConditionBackupFresh, "Unknown", v1alpha1.ReasonNoBackup); err != nil {
		return err
	}
	if err := s.showMessage(ctx, v1alpha1.ConditionBackupFresh); err != nil {
		return err
	}
	snapshot, err := s.takeSnapshot(ctx)
	if err != nil {
		return err
	}
	s.printLine("\n    The operator may read the Lease from now on, and reads it at once for a new policy")
	const namespace, name = "--namespace=cpnp-etcd-snapshot", "cpnp-backup-lease"
	role := []string{"create", "role", namespace, name, "--verb=get", "--resource=leases.coordination.k8s.io", "--resource-name=etcd-snapshot"}
	binding := []string{"create", "rolebinding", namespace, name, "--role=" + name, "--user=" + operatorUser}
	for _, args := range [][]string{role, binding, {"replace", "--force", "-f", "hack/demo/backup.yaml"}} {
		if err := s.showKubectl(ctx, args...); err != nil {
			return err
		}
	}
	if err := s.waitForCondition(ctx, v1alpha1.ConditionBackupFresh, "True", v1alpha1.ReasonFresh); err != nil {
		return err
	}
	if err := s.noticeDamage(ctx, snapshot); err != nil {
		return err
	}
	_, err = s.runKubectl(ctx, "delete", "cpnp", "control-plane")
	return err
}

// showMessage prints the message of a condition.
func (s *stage) showMessage(ctx context.Context, kind string) error {
	return s.showKubectl(ctx, "get", "cpnp", "control-plane", "-o",
		fmt.Sprintf(`jsonpath={.status.conditions[?(@.type==%q)].message}{'\n'}`, kind))
}

// takeSnapshot starts an etcd with TLS, because the etcd of the test bed has none, takes a
// snapshot of it, and returns the path of the snapshot.
func (s *stage) takeSnapshot(ctx context.Context) (string, error) {
	dir := filepath.Join(s.cluster.Dir, "backup")
	snapshots := filepath.Join(dir, "snapshots")
	if err := os.MkdirAll(snapshots, 0o700); err != nil {
		return "", err
	}
	endpoint, err := s.startEtcd(dir)
	if err != nil {
		return "", err
	}
	args := []string{
		"etcd-snapshot", "--endpoints=" + endpoint, "--cacert=" + filepath.Join(dir, "ca.crt"),
		"--cert=" + filepath.Join(dir, "server.crt"), "--key=" + filepath.Join(dir, "server.key"),
		"--dir=" + snapshots, "--lease=cpnp-etcd-snapshot/etcd-snapshot", "--node-name=cp-1",
	}
	s.printLine("\n    $ cpnp-operator etcd-snapshot --endpoints=%s --cacert=ca.crt --cert=server.crt --key=server.key \\", endpoint)
	s.printLine("        --dir=snapshots --lease=cpnp-etcd-snapshot/etcd-snapshot")
	err = pollUntilRight(ctx, patience, func(ctx context.Context) (string, error) {
		out, err := s.runOperator(ctx, args...)
		if err != nil && strings.Contains(out, "connection refused") {
			return "etcd does not listen yet", nil
		}
		if err == nil {
			s.printIndented(out)
		}
		return "", err
	})
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(snapshots, "*.db"))
	if err != nil || len(found) != 1 {
		return "", errors.Join(fmt.Errorf("the folder has %d snapshots instead of one", len(found)), err)
	}
	return found[0], nil
}

// startEtcd starts an etcd that demands client certificates, and returns its address.
func (s *stage) startEtcd(dir string) (endpoint string, err error) {
	authority, err := tlsservers.NewAuthority("etcd CA")
	if err != nil {
		return "", err
	}
	certificate, err := authority.IssueCertificate(tlsservers.Request{Name: "etcd", Names: []string{"127.0.0.1"}})
	if err != nil {
		return "", err
	}
	certFile, keyFile, err := tlsservers.WriteFiles(dir, "server", certificate)
	if err != nil {
		return "", err
	}
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, authority.EncodePEM(), 0o600); err != nil {
		return "", err
	}
	client, peer, err := twoFreePorts()
	if err != nil {
		return "", err
	}
	endpoint = fmt.Sprintf("https://127.0.0.1:%d", client)
	own := fmt.Sprintf("http://127.0.0.1:%d", peer)
	_, err = s.cluster.StartProcess("etcd-of-the-story", exec.Command(filepath.Join(s.cluster.AssetsDir, "etcd"),
		"--data-dir="+filepath.Join(dir, "data"), "--unsafe-no-fsync", "--log-level=error", "--name=story",
		"--cert-file="+certFile, "--key-file="+keyFile, "--trusted-ca-file="+ca, "--client-cert-auth",
		"--listen-client-urls="+endpoint, "--advertise-client-urls="+endpoint,
		"--listen-peer-urls="+own, "--initial-advertise-peer-urls="+own, "--initial-cluster=story="+own), (*exec.Cmd).Start)
	return endpoint, err
}

// runOperator runs a command of the operator's program as the admin, and returns its output.
func (s *stage) runOperator(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, filepath.Join(s.cluster.Dir, "manager"), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+s.cluster.KubeconfigPath)
	out, err := command.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

func (s *stage) printIndented(text string) {
	for line := range strings.Lines(text) {
		s.printLine("    %s", strings.TrimRight(line, "\n"))
	}
}

// noticeDamage changes one byte of the snapshot, which the verification must notice.
func (s *stage) noticeDamage(ctx context.Context, snapshot string) error {
	content, err := os.ReadFile(snapshot)
	if err != nil {
		return err
	}
	content[len(content)/2] ^= 1
	if err := os.WriteFile(snapshot, content, 0o600); err != nil {
		return err
	}
	s.printLine("\n    One bit of the snapshot is flipped")
	s.printLine("    $ cpnp-operator etcd-snapshot --verify=%s", filepath.Base(snapshot))
	out, err := s.runOperator(ctx, "etcd-snapshot", "--verify="+snapshot)
	if err == nil {
		return fmt.Errorf("a damaged snapshot was taken for good: %s", out)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	s.printLine("    %s", strings.ReplaceAll(lines[len(lines)-1], filepath.Dir(snapshot)+"/", ""))
	s.printLine("  ✓ the damage is noticed")
	return nil
}
