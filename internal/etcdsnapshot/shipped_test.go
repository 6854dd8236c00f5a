// SPDX-License-Identifier: Apache-2.0

package etcdsnapshot_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

func readShipped(t *testing.T, name string, into any) {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "etcd-snapshot", name))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(yaml.UnmarshalStrict(text, into)).To(Succeed())
}

// The shipped job has valid arguments and the shipped Lease, and mounts no more of the host than necessary.
func TestShippedJob(t *testing.T) {
	g := NewWithT(t)
	var (
		cron  batchv1.CronJob
		lease coordinationv1.Lease
		role  rbacv1.Role
	)
	readShipped(t, "cronjob.yaml", &cron)
	readShipped(t, "lease.yaml", &lease)
	readShipped(t, "role.yaml", &role)
	pod := cron.Spec.JobTemplate.Spec.Template.Spec
	container := pod.Containers[0]
	g.Expect(container.Args[0]).To(Equal("etcd-snapshot"))
	o := parse(t, container.Args[1:]...)
	g.Expect(o.Check()).To(Succeed())
	g.Expect(o.Lease).To(Equal(lease.Namespace + "/" + lease.Name))
	g.Expect(role.Namespace).To(Equal(lease.Namespace))
	g.Expect(role.Rules).To(HaveLen(1))
	g.Expect(role.Rules[0].ResourceNames).To(ConsistOf(lease.Name))
	g.Expect(role.Rules[0].Verbs).To(ConsistOf("patch"))
	g.Expect(lease.Spec).To(Equal(coordinationv1.LeaseSpec{}), "the fields that the job writes are not declared")

	runs := int64(*cron.Spec.JobTemplate.Spec.BackoffLimit) + 1
	g.Expect(*cron.Spec.JobTemplate.Spec.ActiveDeadlineSeconds).To(BeNumerically(">=", runs*int64(o.Timeout.Seconds())))
	g.Expect(cron.Spec.ConcurrencyPolicy).To(Equal(batchv1.ForbidConcurrent))

	g.Expect(container.SecurityContext.Capabilities).To(HaveValue(Equal(corev1.Capabilities{Drop: []corev1.Capability{"ALL"}})))
	g.Expect(container.SecurityContext.ReadOnlyRootFilesystem).To(HaveValue(BeTrue()))
	g.Expect(container.SecurityContext.AllowPrivilegeEscalation).To(HaveValue(BeFalse()))
	g.Expect(pod.SecurityContext.SeccompProfile.Type).To(Equal(corev1.SeccompProfileTypeRuntimeDefault))
	mounts := map[string]corev1.VolumeMount{}
	for _, mount := range container.VolumeMounts {
		mounts[mount.Name] = mount
	}
	for _, volume := range pod.Volumes {
		g.Expect(volume.HostPath).NotTo(BeNil())
		mount := mounts[volume.Name]
		if volume.Name == "backup" {
			g.Expect(volume.HostPath.Type).To(HaveValue(Equal(corev1.HostPathDirectory)))
			g.Expect(mount.MountPath).To(Equal(o.Dir))
			continue
		}
		g.Expect(volume.HostPath.Type).To(HaveValue(Equal(corev1.HostPathFile)), "the folder also has the key of the CA")
		g.Expect(volume.HostPath.Path).NotTo(Equal("/etc/kubernetes/pki/etcd/ca.key"))
		g.Expect(mount.ReadOnly).To(BeTrue())
		g.Expect(strings.Join(container.Args, " ")).To(ContainSubstring("=" + mount.MountPath))
	}
	g.Expect(pod.Volumes).To(HaveLen(len(mounts)))
}
