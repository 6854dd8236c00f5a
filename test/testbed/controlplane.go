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

// ControlPlane is a control plane that runs. Its methods may be called from
// several goroutines.
type ControlPlane struct {
	// Config is a client's configuration as user admin in system:masters.
	Config *rest.Config
	// KubeconfigPath is the same as a file, for kubectl.
	KubeconfigPath string
	// AssetsDir is the folder of the programs.
	AssetsDir string
	// Dir holds everything that the control plane writes: etcd's data, the
	// certificates, kubeconfigs and logs. Stop removes it.
	Dir string

	options   Options
	env       *envtest.Environment
	audit     *Audit
	logs      *logs
	temp      *tempDir
	processes []*Process
	settled   time.Time // when the program started last counts as started
	users     sync.Mutex

	stopOnce sync.Once
	stopErr  error
}

// Start starts a control plane and returns when it can be used. When it
// fails, or ctx is cancelled meanwhile, nothing of it is left; after it has
// returned ctx means nothing to it.
func Start(ctx context.Context, o Options) (*ControlPlane, error) {
	assets := o.AssetsDir
	if assets == "" {
		var err error
		if assets, err = FindAssets(ctx, os.Stderr); err != nil {
			return nil, err
		}
	}
	if err := requireAssets(assets, o.files()); err != nil {
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
			return nil, errors.Join(err, cp.teardown())
		}
	}
	return cp, nil
}

// Stop ends the programs, waits until they are gone and removes Dir. Its
// error names those that had ended before, by themselves. It may be called
// more than once; every call returns when it is done.
func (cp *ControlPlane) Stop() error {
	cp.stopOnce.Do(func() {
		early := cp.died()
		cp.stopErr = errors.Join(early, cp.teardown())
	})
	return cp.stopErr
}

// PIDs are the process ids of the programs that run, by name. Only on Linux
// does it know those of etcd and the API server.
func (cp *ControlPlane) PIDs() map[string]int {
	pids := map[string]int{}
	for pid, name := range children(cp.Dir) {
		pids[name] = pid
	}
	for _, p := range cp.processes {
		if p.Died() == nil {
			pids[p.name] = p.PID()
		}
	}
	return pids
}

// Audit is the API server's audit log; it needs Options.AuditLog.
func (cp *ControlPlane) Audit() *Audit { return cp.audit }

// teardown stops the clients of the API server first, so that it does not
// wait for their watches.
func (cp *ControlPlane) teardown() error {
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
	cp.logs.close()
	errs = append(errs, cp.temp.remove())
	return errors.Join(errs...)
}
