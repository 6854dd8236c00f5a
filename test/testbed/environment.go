// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// startTimeout limits each step of a start. On a machine that compiles at the same time, a
// step takes several times the usual two seconds.
const startTimeout = 60 * time.Second

// apiServerArgs replaces defaults of envtest that are too small or too open. The
// certificates are in the API server's own folder.
func apiServerArgs() map[string][]string {
	return map[string][]string{
		// envtest's range is full after 254 Services.
		"service-cluster-ip-range": {"10.96.0.0/12"},
		"service-node-port-range":  {"20000-65000"},
		// The address in the Endpoints of the Service "kubernetes", which may not be
		// loopback. The default would be an address of the machine, or an error on a
		// machine without addresses. No server listens at 192.0.2.1, and no client connects
		// there.
		"advertise-address": {"192.0.2.1"},
		// Otherwise one forgotten watch keeps the API server from stopping.
		"shutdown-watch-termination-grace-period": {"200ms"},
	}
}

// startEnvironment starts etcd and the API server, through envtest.
func (cp *ControlPlane) startEnvironment(ctx context.Context) error {
	cp.options.showProgress("Starting etcd and kube-apiserver")
	if err := cp.configureEnvironment(); err != nil {
		return err
	}
	config, err := cp.env.Start()
	if err != nil {
		quoted := cp.logs.quoteTail(apiServer)
		if quoted == "" { // the API server was not started, because etcd was not
			quoted = cp.logs.quoteTail(etcd)
		}
		return fmt.Errorf("%w%s", err, quoted)
	}
	cp.Config = config
	if cp.audit != nil {
		if cp.audit.catchUp, err = newCatchUp(config); err != nil {
			return err
		}
	}
	// envtest makes a folder for the certificates of webhooks, although there are no
	// webhooks, and after a kill this folder would stay unnoticed.
	if err := cp.env.WebhookInstallOptions.Cleanup(); err != nil {
		return err
	}
	if cp.KubeconfigPath, err = cp.writeKubeconfig("admin", cp.env.KubeConfig); err != nil {
		return err
	}
	return cp.waitFor(ctx, "namespace kube-system", client.ObjectKey{Name: "kube-system"}, &corev1.Namespace{})
}

func (cp *ControlPlane) configureEnvironment() error {
	etcdLog, err := cp.logs.openWriter(etcd)
	if err != nil {
		return err
	}
	apiServerLog, err := cp.logs.openWriter(apiServer)
	if err != nil {
		return err
	}
	dataDir, certDir := filepath.Join(cp.Dir, "etcd"), filepath.Join(cp.Dir, "apiserver")
	for _, dir := range []string{dataDir, certDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}

	never := false
	cp.env = &envtest.Environment{
		// A test bed never uses a user's cluster, whatever the environment says.
		UseExistingCluster:       &never,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  serverStopTimeout,
	}
	cp.env.ControlPlane.KubectlPath = filepath.Join(cp.AssetsDir, kubectl)
	cp.env.ControlPlane.Etcd = &envtest.Etcd{
		Path: filepath.Join(cp.AssetsDir, etcd), DataDir: dataDir, Out: etcdLog, Err: etcdLog,
	}
	return cp.configureAPIServer(certDir, apiServerLog)
}

func (cp *ControlPlane) configureAPIServer(certDir string, output io.Writer) error {
	server := cp.env.ControlPlane.GetAPIServer()
	server.Path = filepath.Join(cp.AssetsDir, apiServer)
	server.CertDir = certDir
	server.Out, server.Err = output, output

	args := []map[string][]string{apiServerArgs()}
	if cp.options.AuditLog {
		audit, err := newAudit(cp.Dir)
		if err != nil {
			return err
		}
		cp.audit = audit
		args = append(args, audit.apiServerArgs())
	}
	if cp.options.Aggregation {
		aggregation, err := aggregationArgs(certDir)
		if err != nil {
			return err
		}
		args = append(args, aggregation)
	}
	for _, set := range append(args, cp.options.APIServerArgs) {
		for flag, values := range set {
			server.Configure().Set(flag, values...)
		}
	}
	return nil
}

// installCRDs returns once the API server serves the CRDs.
func (cp *ControlPlane) installCRDs(context.Context) error {
	if len(cp.options.CRDPaths) == 0 {
		return nil
	}
	cp.options.showProgress("Installing CustomResourceDefinitions")
	_, err := envtest.InstallCRDs(cp.Config, envtest.CRDInstallOptions{
		Paths:              cp.options.CRDPaths,
		ErrorIfPathMissing: true,
		MaxTime:            startTimeout,
	})
	return err
}

// waitFor waits until the object exists, and fails early when a program ends meanwhile.
func (cp *ControlPlane) waitFor(ctx context.Context, what string, key client.ObjectKey, object client.Object) error {
	reader, err := client.New(cp.Config, client.Options{})
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, pollInterval, startTimeout, true, func(ctx context.Context) (bool, error) {
		last = reader.Get(ctx, key, object)
		return last == nil, cp.endedPrograms()
	})
	if err != nil {
		return fmt.Errorf("wait for %s: %w", what, errors.Join(err, last))
	}
	return nil
}
