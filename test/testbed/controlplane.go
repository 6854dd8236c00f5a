// SPDX-License-Identifier: Apache-2.0

package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// ControlPlane is a running control plane. Several goroutines may call its methods.
type ControlPlane struct {
	// Config is a client's configuration as user admin in system:masters.
	Config *rest.Config
	// KubeconfigPath is the same configuration as a file, for kubectl.
	KubeconfigPath string
	// AssetsDir is the folder of the programs.
	AssetsDir string
	// Dir holds all files of the control plane: etcd's data, the certificates, kubeconfigs
	// and logs. Stop removes this folder.
	Dir string

	options   Options
	env       *envtest.Environment
	audit     *Audit
	logs      *logs
	temp      *tempDir
	processes []*Process
	settled   time.Time // when the last started program counts as started
	users     sync.Mutex

	stopOnce sync.Once
	stopErr  error
}

// Start starts a control plane, and returns once the control plane can be used. After a
// failure, or after a cancellation of ctx meanwhile, nothing is left. After Start has
// returned, ctx has no effect.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	assets := o.AssetsDir
	if assets == "" {
		var err error
		if assets, err = FindAssets(ctx, os.Stderr); err != nil {
			return nil, err
		}
	}
	if err := requireAssets(assets, o.neededFiles()); err != nil {
		return nil, err
	}
	temp, err := newTempDir()
	if err != nil {
		return nil, err
	}
	cp := &ControlPlane{
		AssetsDir: assets,
		Dir:       temp.path,
		options:   o,
		temp:      temp,
		logs:      &logs{dir: filepath.Join(temp.path, "logs"), output: o.Output},
	}
	for _, step := range []func(context.Context) error{cp.startEnvironment, cp.installCRDs, cp.startPrograms} {
		err := ctx.Err()
		if err == nil {
			err = step(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, cp.stopAll())
		}
	}
	return cp, nil
}

// Stop ends the programs, waits until all programs are gone, and removes Dir. The error
// names programs that had ended before Stop. Stop may be called more than once; every call
// returns after the stop is complete.
func (cp *ControlPlane) Stop() error {
	cp.stopOnce.Do(func() {
		early := cp.endedPrograms()
		cp.stopErr = errors.Join(early, cp.stopAll())
	})
	return cp.stopErr
}

// PIDs returns the process ids of the running programs, by name. Process ids of etcd and
// the API server are known only on Linux.
func (cp *ControlPlane) PIDs() map[string]int {
	pids := map[string]int{}
	for pid, name := range childrenOf(cp.Dir) {
		pids[name] = pid
	}
	for _, p := range cp.processes {
		if p.Died() == nil {
			pids[p.name] = p.PID()
		}
	}
	return pids
}

// Audit returns the API server's audit log, which needs Options.AuditLog.
func (cp *ControlPlane) Audit() *Audit { return cp.audit }

// stopAll stops the clients of the API server first. Otherwise the API server would wait
// for the clients' watches.
func (cp *ControlPlane) stopAll() error {
	var stopping sync.WaitGroup
	for _, p := range cp.processes {
		stopping.Go(p.Stop)
	}
	stopping.Wait()

	var errs []error
	if cp.env != nil {
		errs = append(errs, cp.env.Stop())
	}
	errs = append(errs, killChildren(cp.Dir))
	cp.logs.closeFiles()
	errs = append(errs, cp.temp.removeDir())
	return errors.Join(errs...)
}
