"""A repository's worth of pipelines for machine learning: CI builds and hands a model to CD, which deploys it."""

from __future__ import annotations

import yaml

from tests.azure_pipelines_local.conftest import Project

FILES = {
    ".pipelines/variables.yml": """
        variables:
        - name: MODEL_NAME
          value: claims
        - name: EXPERIMENT
          value: $(MODEL_NAME)-training
        - name: PYTHON_VERSION
          value: '3.x'
        """,
    ".pipelines/steps/python.yml": """
        parameters:
        - {name: version, type: string}
        steps:
        - task: UsePythonVersion@0
          inputs: {versionSpec: '${{ parameters.version }}'}
        """,
    ".pipelines/jobs/quality.yml": """
        parameters:
        - {name: lint, type: boolean, default: true}
        - {name: tests, type: object, default: [unit]}
        jobs:
        - job: quality
          steps:
          - template: ../steps/python.yml
            parameters: {version: '${{ variables.PYTHON_VERSION }}'}
          - ${{ if parameters.lint }}:
            - bash: echo lint
              displayName: lint
          - ${{ each suite in parameters.tests }}:
            - bash: cp fixtures/junit.xml TEST-${{ suite }}.xml
              displayName: ${{ suite }} tests
          - task: PublishTestResults@2
            condition: succeededOrFailed()
            inputs: {testResultsFiles: TEST-*.xml, testRunTitle: all, failTaskOnFailedTests: true}
        """,
    ".pipelines/ci.yml": """
        trigger: {branches: {include: [main]}}
        parameters:
        - {name: publish, type: boolean, default: true}
        resources:
          containers:
          - {container: ml, image: 'mcr.microsoft.com/ml:latest'}
        variables:
        - template: variables.yml
        - group: claims-ml
        stages:
        - stage: Quality
          jobs:
          - template: jobs/quality.yml
            parameters: {tests: [unit, data]}
        - stage: Train
          dependsOn: Quality
          jobs:
          - job: publish_pipeline
            timeoutInMinutes: 0
            steps:
            - template: steps/python.yml
              parameters: {version: 3.x}
            - task: AzureCLI@1
              name: publish
              inputs:
                azureSubscription: $(WORKSPACE_SVC_CONNECTION)
                scriptLocation: inlineScript
                workingDirectory: $(Build.SourcesDirectory)
                inlineScript: |
                  set -e
                  export SUBSCRIPTION_ID=$(az account show --query id -o tsv)
                  echo "##vso[task.setvariable variable=PIPELINE_ID;isOutput=true]$SUBSCRIPTION_ID-p1"
                  echo "$EXPERIMENT in $(RESOURCE_GROUP)"
          - job: train
            dependsOn: publish_pipeline
            condition: and(succeeded(), ne('${{ parameters.publish }}', 'False'))
            variables:
              PIPELINE_ID: $[ dependencies.publish_pipeline.outputs['publish.PIPELINE_ID'] ]
            steps:
            - bash: |
                mkdir -p out && echo "{\\"name\\": \\"$(MODEL_NAME)\\", \\"version\\": 3}" > out/model.json
                echo "trained by $(PIPELINE_ID)"
            - publish: out
              artifact: model
        """,
    ".pipelines/cd.yml": """
        resources:
          pipelines:
          - pipeline: model-train-ci
            source: Model-Train-CI
            trigger: {branches: {include: [main]}}
        variables:
        - template: variables.yml
        - group: claims-ml
        stages:
        - ${{ each environment in split('staging,production', ',') }}:
          - stage: ${{ environment }}
            condition: and(succeeded(), ne(variables['SKIP_${{ upper(environment) }}'], 'true'))
            jobs:
            - deployment: deploy
              environment: ${{ environment }}
              strategy:
                ${{ if eq(environment, 'production') }}:
                  canary:
                    increments: [10]
                    deploy:
                      steps:
                      - template: steps/deploy.yml
                        parameters: {environment: '${{ environment }}', traffic: $(strategy.increment)}
                ${{ else }}:
                  runOnce:
                    deploy:
                      steps:
                      - template: steps/deploy.yml
                        parameters: {environment: '${{ environment }}'}
        """,
    ".pipelines/steps/deploy.yml": """
        parameters:
        - {name: environment, type: string}
        - {name: traffic, type: string, default: '100'}
        steps:
        - bash: |
            model="$(Pipeline.Workspace)/model-train-ci/model/model.json"
            version=$(sed 's/.*"version": \\([0-9]*\\).*/\\1/' "$model")
            echo "##vso[task.setvariable variable=MODEL_VERSION]$version"
          displayName: read the model's version
        - bash: >-
            echo "deploy $(MODEL_NAME):$(MODEL_VERSION) to ${{ parameters.environment }} at ${{ parameters.traffic }}
            by run $(resources.pipeline.model-train-ci.runID)"
          displayName: deploy
        """,
    "fixtures/junit.xml": '<testsuite><testcase classname="a" name="b"/></testsuite>',
    "values.yml": """
        claims-ml:
          RESOURCE_GROUP: my-rg
          WORKSPACE_SVC_CONNECTION: my-workspace
          SP_APP_SECRET: top-secret
        """,
}


def prepared(project: Project) -> Project:
    for name, text in FILES.items():
        project.write(name, text)
    return project


def test_the_pipelines_are_checked_together(project: Project) -> None:
    prepared(project)
    files = (".pipelines/ci.yml", ".pipelines/cd.yml")
    options = ("--root", ".", "--variables", "values.yml")
    outcome = project.command("check", *files, *options)
    assert outcome.output == ".pipelines/ci.yml: ok\n.pipelines/cd.yml: ok\n"


def test_ci_expands_with_its_templates(project: Project) -> None:
    prepared(project)
    outcome = project.command("expand", ".pipelines/ci.yml", "--root", ".")
    content = yaml.safe_load(outcome.output)
    quality = content["stages"][0]["jobs"][0]
    assert [step.get("displayName") for step in quality["steps"]] == [
        None,
        "lint",
        "unit tests",
        "data tests",
        None,
    ]
    assert quality["steps"][0]["inputs"] == {"versionSpec": "3.x"}
    assert content["variables"][-1] == {"group": "claims-ml"}


def test_ci_hands_its_model_to_cd(project: Project) -> None:
    prepared(project)
    options = ("--root", ".", "--work", str(project.work), "--variables", "values.yml")
    ci = project.command("run", ".pipelines/ci.yml", "--name", "Model-Train-CI", *options)
    assert ci.exit_code == 0, ci.output
    assert "claims-training in my-rg" in ci.lines()
    assert "trained by 00000000-0000-0000-0000-000000000000-p1" in ci.lines()
    assert ci.summary["tests"] == [{"title": "all", "tests": 2, "failed": 0, "skipped": 0}]
    cd = project.command("run", ".pipelines/cd.yml", "--approve", *options)
    assert cd.exit_code == 0, cd.output
    assert "deploy claims:3 to staging at 100 by run 1" in cd.lines()
    assert "deploy claims:3 to production at 10 by run 1" in cd.lines()
    skipped = project.command(
        "run", ".pipelines/cd.yml", "--approve", "--set", "SKIP_STAGING=true", *options
    )
    assert skipped.stages == {"staging": "Skipped", "production": "Skipped"}


def test_a_parameter_leaves_a_job_out(project: Project) -> None:
    prepared(project)
    options = ("--root", ".", "--work", str(project.work), "--variables", "values.yml")
    outcome = project.command("run", ".pipelines/ci.yml", "--parameter", "publish=false", *options)
    assert outcome.exit_code == 0
    assert outcome.jobs["train"] == "Skipped"
    assert "ne('False', 'False')" in outcome.output
