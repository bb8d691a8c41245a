package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

type Reconciler struct {
	client.Client
	Cloud  *Cloud
	Resync time.Duration
}

func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var instance RedisInstance
	if err := r.Get(ctx, request.NamespacedName, &instance); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	before := instance.DeepCopy()

	var secret corev1.Secret
	name := types.NamespacedName{Namespace: instance.Namespace, Name: instance.Spec.CredentialsSecretRef.Name}
	if err := r.Get(ctx, name, &secret); err != nil {
		return ctrl.Result{}, err
	}
	credentials := Credentials{ID: string(secret.Data["secretId"]), Key: string(secret.Data["secretKey"])}

	next, err := r.converge(ctx, credentials, &instance)
	instance.Status.ObservedGeneration = instance.Generation
	if !equality.Semantic.DeepEqual(before.Status, instance.Status) {
		if err := r.Status().Update(ctx, &instance); err != nil {
			return ctrl.Result{}, err
		}
	}
	return ctrl.Result{RequeueAfter: next}, err
}

func (r *Reconciler) converge(ctx context.Context, credentials Credentials, instance *RedisInstance) (time.Duration, error) {
	spec, status := instance.Spec, &instance.Status
	found, err := r.Cloud.DescribeRedis(ctx, credentials, spec.Region, spec.RedisID)
	if err != nil {
		return 0, err
	}
	if found == nil {
		setReady(instance, metav1.ConditionFalse, "InstanceNotExists", "There is no such instance.")
		return r.Resync, nil
	}
	status.MemSize = found.Size
	status.InstanceStatus = "Running"
	if found.Status != running {
		status.InstanceStatus = "InProcess"
	}
	switch {
	case found.Size >= spec.MemSize:
		setReady(instance, metav1.ConditionTrue, "InSync", fmt.Sprintf("The instance has the %d MB declared.", spec.MemSize))
		return r.Resync, nil
	case found.Status != running:
		setReady(instance, metav1.ConditionFalse, "Upgrading", "The upgrade is on its way.")
		return 5 * time.Second, nil
	}
	deal, err := r.Cloud.UpgradeRedis(ctx, credentials, spec.Region, spec.RedisID, spec.MemSize)
	if err != nil {
		setReady(instance, metav1.ConditionFalse, "UpgradeFailed", err.Error())
		return 0, err
	}
	status.DealID = deal
	setReady(instance, metav1.ConditionFalse, "Upgrading", "The upgrade is on its way.")
	return 5 * time.Second, nil
}

func (r *Reconciler) SetupWithManager(manager ctrl.Manager, workers int) error {
	return ctrl.NewControllerManagedBy(manager).
		For(&RedisInstance{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
}
