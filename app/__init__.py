"""The app: `streamlit run app/main.py`. Pages draw; figures and numbers come from `probe` and `analyses`."""
