FROM python:latest
RUN pip install lightgbm
