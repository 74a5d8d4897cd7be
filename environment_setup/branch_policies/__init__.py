"""Policies of the main branch as data, brought to Azure DevOps or GitHub by their REST APIs."""
