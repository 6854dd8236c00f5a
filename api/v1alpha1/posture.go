// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// TLSPosture returns what the policy declares about TLS, or nil.
func (p *ControlPlaneNetworkPolicy) TLSPosture() *TLSPosture {
	if p.Spec.Posture == nil {
		return nil
	}
	return p.Spec.Posture.TLS
}

// EtcdBackupPosture returns what the policy declares about backups of etcd, or nil.
func (p *ControlPlaneNetworkPolicy) EtcdBackupPosture() *EtcdBackupPosture {
	if p.Spec.Posture == nil || !p.Spec.Posture.EtcdBackup.IsDeclared() {
		return nil
	}
	return &p.Spec.Posture.EtcdBackup
}

// IsDeclared says whether backups are asked for.
func (b EtcdBackupPosture) IsDeclared() bool { return b.MaxAgeSeconds > 0 }
