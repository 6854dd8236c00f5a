// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// version and revision are set by the linker: -X …/internal/metrics.version=v0.1.0. Without
// these values, the go command's record about the module counts.
var version, revision string

const notRecorded = "unknown"

var buildInfo = prometheus.NewGaugeVec(prometheus.GaugeOpts{
	Name: "cpnp_build_info",
	Help: "Always 1; the labels are the version of the operator, the revision of its source, and the release of Go.",
}, []string{"version", "revision", "go_version"})

func init() {
	buildInfo.WithLabelValues(describeBuild(debug.ReadBuildInfo())...).Set(1)
	metrics.Registry.MustRegister(buildInfo)
}

// describeBuild returns the labels of the build.
func describeBuild(info *debug.BuildInfo, recorded bool) []string {
	module, commit := "", ""
	if recorded {
		module = info.Main.Version
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				commit = setting.Value
			}
		}
	}
	return []string{cmp.Or(version, module, notRecorded), cmp.Or(revision, commit, notRecorded), runtime.Version()}
}
