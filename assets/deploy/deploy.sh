# From nothing to a job and a service on an L4, in this order. What README.md says of each step is not repeated.

# 1. What the project needs
gcloud config set project ${PROJECT}
gcloud services enable run.googleapis.com cloudbuild.googleapis.com artifactregistry.googleapis.com storage.googleapis.com secretmanager.googleapis.com iamcredentials.googleapis.com
gcloud artifacts repositories create audit --repository-format=docker --location=${REGION}
gcloud storage buckets create gs://${MODELS_BUCKET} --location=${REGION} --uniform-bucket-level-access

# 2. The account that the tasks run as
gcloud iam service-accounts create $(echo ${ACCOUNT} | cut -d@ -f1) --display-name=fill-audit
gcloud storage buckets add-iam-policy-binding gs://${BUCKET} --member=serviceAccount:${ACCOUNT} --role=roles/storage.objectUser
gcloud storage buckets add-iam-policy-binding gs://${MODELS_BUCKET} --member=serviceAccount:${ACCOUNT} --role=roles/storage.objectViewer
gcloud iam service-accounts add-iam-policy-binding ${ACCOUNT} --member=serviceAccount:${ACCOUNT} --role=roles/iam.serviceAccountTokenCreator

# 3. The weights, as plain files in the published layout
HF_HOME=weights fill-audit models pull
mkdir -p models
cp -rL weights/hub/models--black-forest-labs--FLUX.1-Fill-dev/snapshots/*/. models/
cp -L weights/hub/models--YarvixPA--FLUX.1-Fill-dev-GGUF/snapshots/*/*.gguf models/
fill-audit models check models
gcloud storage rsync --recursive models gs://${MODELS_BUCKET}

# 4. The image, built where Docker is
gcloud builds submit --config=assets/deploy/cloudbuild.yaml --substitutions=_IMAGE=${IMAGE} .

# 5. The job
fill-audit job deploy --print --project=${PROJECT} --region=${REGION} --job=${JOB} --bucket=${BUCKET} --models-bucket=${MODELS_BUCKET} --image=${IMAGE} --account=${ACCOUNT} > job.yaml
gcloud run jobs replace job.yaml --region=${REGION}
gcloud run jobs execute ${JOB} --region=${REGION} --wait

# 6. The service, for those who want a worker instead
openssl rand -hex 32 | gcloud secrets create fill-audit-token --data-file=-
gcloud secrets add-iam-policy-binding fill-audit-token --member=serviceAccount:${ACCOUNT} --role=roles/secretmanager.secretAccessor
fill-audit job deploy --print=service --region=${REGION} --service=${SERVICE} --bucket=${BUCKET} --models-bucket=${MODELS_BUCKET} --image=${IMAGE} --account=${ACCOUNT} > service.yaml
gcloud run services replace service.yaml --region=${REGION}
gcloud run services add-iam-policy-binding ${SERVICE} --region=${REGION} --member=user:$(gcloud config get-value account) --role=roles/run.invoker
gcloud run services add-iam-policy-binding ${SERVICE} --region=${REGION} --member=serviceAccount:${ACCOUNT} --role=roles/run.invoker
gcloud iam service-accounts add-iam-policy-binding ${ACCOUNT} --member=user:$(gcloud config get-value account) --role=roles/iam.serviceAccountTokenCreator
gcloud auth application-default login --impersonate-service-account=${ACCOUNT}

# 7. What the window asks for: the service's address, and the worker's token
gcloud run services describe ${SERVICE} --region=${REGION} --format='value(status.url)'
gcloud secrets versions access latest --secret=fill-audit-token
